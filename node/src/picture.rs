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
