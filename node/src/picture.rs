//! QR codes in pictures: what a camera or a file shows, read as text.
//!
//! A picture arrives as one byte of brightness a pixel, so no format of pictures is decoded here,
//! and what is allocated is known before anything is read.

use rqrr::PreparedImage;
use thiserror::Error;

/// Most pixels of a picture that is read.
pub const PICTURE_PIXELS_MAX: usize = 1 << 20;

/// The text of the first QR code in a picture of rows of `width` pixels, one byte of brightness
/// each. Takes some milliseconds of computing: not for a thread that others wait for.
///
/// # Errors
/// [`PictureError`]: show another picture.
pub fn read_qr(width: usize, pixels: &[u8]) -> Result<String, PictureError> {
    if width == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(width) {
        return Err(PictureError::Size);
    }
    if pixels.len() > PICTURE_PIXELS_MAX {
        return Err(PictureError::TooLarge);
    }
    let height = pixels.len() / width;
    if width < SIDE_MIN || height < SIDE_MIN {
        return Err(PictureError::NoCode);
    }
    let bright = |x: usize, y: usize| pixels.get(y * width + x).copied().unwrap_or(u8::MAX);
    let mut picture = PreparedImage::prepare_from_greyscale(width, height, bright);
    let grids = picture.detect_grids();
    let mut damaged = false;
    for grid in &grids {
        match grid.decode() {
            Ok((_, text)) => return Ok(text),
            Err(_) => damaged = true,
        }
    }
    Err(match damaged {
        true => PictureError::Unreadable,
        false => PictureError::NoCode,
    })
}

/// The smallest QR code has 21 rows.
const SIDE_MIN: usize = 21;

/// Why no text was read from a picture.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PictureError {
    /// There is none in it.
    #[error("there is no QR code in this picture")]
    NoCode,
    /// There is one, and too much of it is blurred or missing.
    #[error(
        "the QR code in this picture cannot be read: hold it straight, nearer and in more light"
    )]
    Unreadable,
    /// The bytes are not whole rows of that width.
    #[error("this is no picture: its bytes are not rows of the width that was said")]
    Size,
    /// It has more than [`PICTURE_PIXELS_MAX`] pixels.
    #[error("the picture has more than {PICTURE_PIXELS_MAX} pixels: make it smaller")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qrcode::{Color, QrCode};

    use super::*;

    /// A QR code of `text`, `scale` pixels a square.
    fn drawn(text: &str, scale: usize) -> (usize, Vec<u8>) {
        let code = QrCode::new(text).expect("short");
        let (inner, colors) = (code.width(), code.to_colors());
        let width = (inner + 8) * scale;
        let dark = |x: usize, y: usize| {
            let (x, y) = ((x / scale).checked_sub(4), (y / scale).checked_sub(4));
            let (Some(x), Some(y)) = (x, y) else {
                return false;
            };
            x < inner && y < inner && colors[y * inner + x] == Color::Dark
        };
        let pixels = (0..width * width).map(|at| {
            if dark(at % width, at / width) {
                20
            } else {
                235
            }
        });
        (width, pixels.collect())
    }

    #[test]
    fn what_was_drawn_is_read_and_what_is_no_picture_is_named() {
        for (text, scale) in [("quid://x", 3), (&"a longer one ".repeat(40), 4)] {
            let (width, pixels) = drawn(text, scale);
            assert_eq!(read_qr(width, &pixels), Ok(text.to_owned()));
            assert_eq!(read_qr(width, &pixels[1..]), Err(PictureError::Size));
        }
        assert_eq!(read_qr(0, &[1]), Err(PictureError::Size));
        assert_eq!(read_qr(1, &[]), Err(PictureError::Size));
        assert_eq!(read_qr(100, &[255; 10_000]), Err(PictureError::NoCode));
        assert_eq!(read_qr(1, &[0; 100]), Err(PictureError::NoCode));
        let large = vec![0; PICTURE_PIXELS_MAX + 1024];
        assert_eq!(read_qr(1024, &large), Err(PictureError::TooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Damaged and distorted codes end in a text or an error, never in a panic.
        #[test]
        fn a_damaged_code_is_read_or_refused(
            text in "[ -~]{1,120}",
            scale in 1_usize..5,
            cut in 0_usize..40,
            skew in 0_usize..4,
            spots in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..40, any::<u8>()), 0..40),
        ) {
            let (width, mut pixels) = drawn(&text, scale);
            for (at, len, value) in spots {
                let at = at.index(pixels.len());
                let end = (at + len * scale).min(pixels.len());
                pixels[at..end].fill(value);
            }
            let rows: Vec<u8> = pixels
                .chunks(width)
                .enumerate()
                .flat_map(|(row, line)| {
                    let mut line = line.to_vec();
                    line.rotate_right(row * skew / 8 % width);
                    line.truncate(width - cut.min(width - 1));
                    line
                })
                .collect();
            let _ = read_qr(width - cut.min(width - 1), &rows);
        }

        #[test]
        fn noise_is_refused(width in 1_usize..200, pixels in prop::collection::vec(any::<u8>(), 0..8_000)) {
            let whole = pixels.len() / width * width;
            let _ = read_qr(width, &pixels[..whole]);
        }
    }
}
