//! Proofs of two histories, kept in the home: a file each, never overwritten. While there is one,
//! this home neither pays nor accepts.

use std::fs;
use std::path::{Path, PathBuf};

use quid_common::fork::{Fork, TwoHistories};

use crate::home::{HomeError, keep_file};

/// The file of a proof that an earlier run or another process kept.
pub(crate) fn find(home: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(home).ok()?.flatten().take(FILES_MAX);
    let kept = files.filter(|file| {
        let name = file.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes())
    });
    kept.map(|file| file.path()).min()
}

/// Keeps `fork`, durably. One that is kept already stays as it is.
pub(crate) fn keep(home: &Path, fork: &Fork, proved: TwoHistories) -> Result<PathBuf, HomeError> {
    let file = place(home, proved);
    keep_file(&file, fork.to_text().as_bytes())?;
    Ok(file)
}

/// Where the proof is kept.
pub(crate) fn place(home: &Path, proved: TwoHistories) -> PathBuf {
    home.join(format!("{PREFIX}{}{SUFFIX}", proved.size()))
}

const PREFIX: &str = "fork-";
const SUFFIX: &str = ".txt";

/// Most files of a home that are looked at.
const FILES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use quid_common::checkpoint::{Checkpoint, Head};
    use quid_common::id::LedgerId;
    use quid_common::key::SecretKey;

    use super::*;

    #[test]
    fn a_proof_is_kept_from_others_and_never_overwritten() {
        let home = tempfile::tempdir().expect("a folder");
        assert_eq!(find(home.path()), None);
        let key = SecretKey::from_seed(&[1; 32]);
        let signed = |root| {
            let head = Head {
                size: 7,
                root: [root; 32],
            };
            (Checkpoint::sign(LedgerId([2; 32]), head, &key), head)
        };
        let (one, two) = (signed(1), signed(2));
        let fork = Fork::between((&one.0, one.1), (&two.0, two.1), two.1.root, Vec::new());
        let fork = fork.expect("two roots of one size");
        let proved = fork.verify(&key.public()).expect("both are signed");
        let file = keep(home.path(), &fork, proved).expect("it can be written");
        assert_eq!(file, home.path().join("fork-7.txt"));
        assert_eq!(find(home.path()), Some(file.clone()));
        let mode = fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "mine").expect("it is ours");
        assert_eq!(keep(home.path(), &fork, proved).ok(), Some(file.clone()));
        assert_eq!(fs::read(&file).expect("it is there"), b"mine");
    }
}
