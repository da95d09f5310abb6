//! Holds the table "What may not touch what" in ARCHITECTURE.md against the sources, and a few
//! habits of CONTRIBUTING.md with it.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn no_file_touches_what_its_kind_may_not() {
    let mut breaches = Vec::new();
    let mut seen = 0;
    for kind in KINDS {
        for place in kind.places {
            let files = sources(&root().join(place));
            assert!(
                !files.is_empty(),
                "{place} in the table of {} is gone",
                kind.name
            );
            for file in files {
                seen += 1;
                let code = code_of(&file);
                for forbidden in kind.forbidden {
                    if let Some(line) = find_word(&code, forbidden) {
                        let file = file
                            .strip_prefix(root())
                            .unwrap_or(&file)
                            .display()
                            .to_string();
                        breaches.push(format!("{file}:{line}: {} touch `{forbidden}`", kind.name));
                    }
                }
            }
        }
    }
    assert!(seen > 20, "the table covers {seen} files only");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn architecture_md_names_files_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is in the tree");
    let mut checked = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let path = root().join(word);
        if word.contains('/') && !word.contains(' ') && !word.contains("::") {
            checked += 1;
            assert!(
                path.exists(),
                "ARCHITECTURE.md names {word}, which is not there"
            );
        }
    }
    assert!(checked >= 10, "ARCHITECTURE.md names {checked} places only");
}

#[test]
fn the_other_documents_name_sources_that_exist() {
    for document in ["CONTRIBUTING.md", "SECURITY.md", "TESTING.md"] {
        let text = fs::read_to_string(root().join(document)).expect("it is in the tree");
        let words = text.split('`').skip(1).step_by(2);
        let sources: Vec<&str> = words
            .filter(|word| word.contains('/') && word.ends_with(".rs"))
            .collect();
        assert!(!sources.is_empty(), "{document} names no source any more");
        for source in sources {
            let is_there = root().join(source).exists();
            assert!(is_there, "{document} names {source}, which is not there");
        }
    }
}

#[test]
fn no_open_ends_are_left_in_the_sources() {
    for place in [
        "common",
        "terminal",
        "directory",
        "node",
        "examples",
        "bench",
        "sim",
        "crash",
        "fuzz",
    ] {
        for file in sources(&root().join(place)) {
            if file.ends_with("architecture.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source is text");
            for mark in ["TODO", "FIXME", "todo!(", "unimplemented!(", "#[ignore"] {
                assert!(!text.contains(mark), "{} has {mark}", file.display());
            }
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate() {
    for crate_root in [
        "common/src/lib.rs",
        "terminal/src/lib.rs",
        "directory/src/lib.rs",
        "node/src/lib.rs",
    ] {
        let text = fs::read_to_string(root().join(crate_root)).expect("a crate has a root");
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{crate_root} allows unsafe code"
        );
    }
}

#[test]
fn what_could_panic_is_denied_in_every_crate_and_allowed_nowhere_without_a_reason() {
    for crate_root in PANIC_FREE {
        let text = fs::read_to_string(root().join(crate_root)).expect("a crate has a root");
        for lint in PANICS {
            let denied = text.contains(&format!("clippy::{lint}"));
            assert!(denied, "{crate_root} does not deny clippy::{lint}");
        }
    }
    let mut reasons = 0;
    for place in ["common/src", "terminal/src", "directory/src", "node/src"] {
        for file in sources(&root().join(place)) {
            if PANIC_FREE
                .iter()
                .any(|crate_root| file.ends_with(crate_root))
            {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source is text");
            for (at, _) in text.match_indices("clippy::") {
                let lint = &text[at + "clippy::".len()..];
                if !PANICS.iter().any(|panics| lint.starts_with(panics)) {
                    continue;
                }
                let begin = text[..at].rfind("#[").unwrap_or(at);
                let end = text[at..].find(")]").map_or(text.len(), |end| at + end);
                let attribute = &text[begin..end];
                let reasoned = attribute.starts_with("#[expect(") && attribute.contains("reason =");
                assert!(reasoned, "{}: {attribute}", file.display());
                reasons += 1;
            }
        }
    }
    assert!(reasons > 5, "the opt-outs are not found any more");
}

/// Roots of crates through which foreign bytes pass.
const PANIC_FREE: [&str; 5] = [
    "common/src/lib.rs",
    "terminal/src/lib.rs",
    "directory/src/lib.rs",
    "node/src/lib.rs",
    "node/src/main.rs",
];

/// Lints against what could panic.
const PANICS: [&str; 10] = [
    "expect_used",
    "get_unwrap",
    "indexing_slicing",
    "panic",
    "panic_in_result_fn",
    "string_slice",
    "todo",
    "unimplemented",
    "unreachable",
    "unwrap_used",
];

struct Kind {
    name: &'static str,
    places: &'static [&'static str],
    forbidden: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "wire types and signed facts",
        places: &["common/src"],
        forbidden: &[
            "tokio",
            "quinn",
            "std::fs",
            "std::net::UdpSocket",
            "SystemTime",
            "Instant",
        ],
    },
    Kind {
        name: "rules",
        places: &[
            "directory/src/ledger.rs",
            "directory/src/ledger",
            "directory/src/quota.rs",
            "common/src/tab.rs",
            "common/src/chain.rs",
        ],
        forbidden: &[
            "async",
            "await",
            "tokio",
            "std::io",
            "std::fs",
            "std::net",
            "SystemTime",
            "Instant",
            "rand",
            "getrandom",
            "tracing",
            "println",
            "f32",
            "f64",
            "rusqlite",
        ],
    },
    Kind {
        name: "settlement",
        places: &["directory/src/settlement.rs", "directory/src/settlement"],
        forbidden: &["quinn", "std::fs", "File", "rusqlite"],
    },
    Kind {
        name: "the store",
        places: &["directory/src/store.rs", "directory/src/store"],
        forbidden: &[
            "Account", "Amount", "Ledger", "Answer", "Reply", "quinn", "tokio",
        ],
    },
    Kind {
        name: "sockets of the directory",
        places: &[
            "directory/src/server.rs",
            "directory/src/session.rs",
            "directory/src/settle_stream.rs",
            "directory/src/event_stream.rs",
            "directory/src/stream.rs",
        ],
        forbidden: &[
            "Ledger",
            "std::fs",
            "rusqlite",
            "checked_add",
            "checked_sub",
            "Books",
        ],
    },
    Kind {
        name: "sockets of the node",
        places: &["node/src/quic.rs", "node/src/peer.rs"],
        forbidden: &["std::fs", "rusqlite", "checked_add", "checked_sub"],
    },
    Kind {
        name: "words for people",
        places: &[
            "directory/src/cli.rs",
            "directory/src/command.rs",
            "directory/src/command",
            "node/src/cli",
            "node/src/wallet.rs",
            "node/src/wallet",
        ],
        forbidden: &[
            "quinn",
            "wire::Message",
            "FrameReader",
            "Signed::new",
            "rusqlite",
        ],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a member of the workspace")
        .to_owned()
}

/// The Rust files at or below `place`, tests in files of their own left out.
fn sources(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A file's code: without comments, and without the tests at its end.
fn code_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source is text");
    if file.ends_with("tests.rs") || text.starts_with("#![cfg(test)]") || is_test_module(file) {
        return Vec::new();
    }
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned())
        .collect()
}

/// Whether the file's parent declares it for tests only.
fn is_test_module(file: &Path) -> bool {
    let (Some(folder), Some(stem)) = (file.parent(), file.file_stem()) else {
        return false;
    };
    let parent = folder.with_extension("rs");
    let declaration = format!("#[cfg(test)]\nmod {};", stem.to_string_lossy());
    fs::read_to_string(parent).is_ok_and(|text| text.contains(&declaration))
}

/// The first line, counted from 1, on which `word` stands as a whole word.
fn find_word(code: &[String], word: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.iter()
        .position(|line| {
            line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
            })
        })
        .map(|line| line + 1)
}
