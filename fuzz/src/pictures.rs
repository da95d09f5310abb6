//! Pictures that somebody says have a QR code in them.

use std::io::Cursor;

use arbitrary::Unstructured;
use png::{ColorType, DecodeOptions, Decoder, Transformations};
use qrcode::{Color, EcLevel, QrCode};
use quid_node::{PICTURE_PIXELS_MAX, PictureError, read_qr};

use crate::patches::{apply, patches};

/// The bytes are a PNG file, which is made grey as whoever shows a picture makes it; or a picture's
/// rows, a byte or a bit to a pixel; or a text that is drawn as a code and then damaged.
///
/// Whatever the picture, there is one answer to it; only rows that are none are called so, and only
/// too many; what was drawn and not damaged is read as it was written.
pub fn pictures(bytes: &[u8]) {
    if bytes.starts_with(&PNG) {
        if let Some((width, pixels)) = grey(bytes) {
            let _ = look(width, &pixels);
        }
        return;
    }
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    if kind % 3 == 2 {
        return drawn(rest);
    }
    let Some((width, rest)) = rest.split_first_chunk() else {
        return;
    };
    let width = usize::from(u16::from_be_bytes(*width));
    let _ = match kind % 3 {
        0 => look(width, rest),
        _ => look(width, &spread(rest)),
    };
}

/// How a PNG file begins.
const PNG: [u8; 4] = *b"\x89PNG";

/// Most characters in any QR code, which are digits.
const TEXT_LEN_MAX: usize = 7_089;

/// What is read from a picture, and read again.
fn look(width: usize, pixels: &[u8]) -> Result<String, PictureError> {
    let read = read_qr(width, pixels);
    assert_eq!(read_qr(width, pixels), read, "one picture, one answer");
    let rows = width > 0 && !pixels.is_empty() && pixels.len().is_multiple_of(width);
    assert_eq!(!rows, read == Err(PictureError::Size));
    let large = rows && pixels.len() > PICTURE_PIXELS_MAX;
    assert_eq!(large, read == Err(PictureError::TooLarge));
    if let Ok(text) = &read {
        assert!(text.chars().count() <= TEXT_LEN_MAX);
    }
    read
}

/// A scale, the text's length and the text, and what is done to the picture of it.
fn drawn(bytes: &[u8]) {
    let Some(([scale, len], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let scale = 1 + usize::from(scale % 4);
    let (text, damage) = rest.split_at(rest.len().min(usize::from(*len)));
    let text: String = text
        .iter()
        .map(|byte| char::from(byte % 95 + b' '))
        .collect();
    let code = QrCode::with_error_correction_level(&text, EcLevel::L).expect("short");
    let (width, mut pixels) = paint(&code, scale);
    let damage = patches(&mut Unstructured::new(damage));
    apply(&mut pixels, &damage);
    pixels.truncate(pixels.len() / width * width);
    let read = look(width, &pixels);
    if damage.is_empty() {
        assert_eq!(read.as_ref(), Ok(&text), "{scale} pixels a square");
    }
}

/// A code's picture, `scale` pixels to a square, with the border that belongs to it.
pub(crate) fn paint(code: &QrCode, scale: usize) -> (usize, Vec<u8>) {
    let (inner, colors) = (code.width(), code.to_colors());
    let width = (inner + 2 * BORDER) * scale;
    let square = |at: usize| (at / scale).checked_sub(BORDER).filter(|at| *at < inner);
    let dark = |at: usize| match (square(at % width), square(at / width)) {
        (Some(x), Some(y)) => colors[y * inner + x] == Color::Dark,
        _ => false,
    };
    let shade = |at| if dark(at) { 20 } else { 235 };
    (width, (0..width * width).map(shade).collect())
}

/// Squares around a code.
const BORDER: usize = 4;

/// A pixel for each bit.
fn spread(bytes: &[u8]) -> Vec<u8> {
    let bits = |byte: &u8| {
        let byte = *byte;
        (0..8).map(move |bit| if byte >> (7 - bit) & 1 == 1 { 235 } else { 20 })
    };
    bytes.iter().flat_map(bits).collect()
}

/// A PNG file's width and the brightness of its pixels, if it is one and not much too large.
fn grey(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info().ok()?;
    let pixels = u64::from(header.width) * u64::from(header.height);
    if pixels > 2 * PICTURE_PIXELS_MAX as u64 {
        return None;
    }
    let mut reader = decoder.read_info().ok()?;
    let mut samples = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut samples).ok()?;
    let channels = frame.color_type.samples();
    let shade = |pixel: &[u8]| match frame.color_type {
        ColorType::Rgb | ColorType::Rgba => {
            let sum: u16 = pixel.iter().take(3).map(|&part| u16::from(part)).sum();
            u8::try_from(sum / 3).unwrap_or(u8::MAX)
        }
        _ => pixel.first().copied().unwrap_or_default(),
    };
    let samples = samples.get(..frame.buffer_size())?;
    let width = usize::try_from(frame.width).ok()?;
    Some((width, samples.chunks(channels).map(shade).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the seeds that are files come to: a target that saw no picture in them would be blind.
    #[test]
    fn the_files_among_the_seeds_are_pictures_with_a_code_and_without() {
        let read = |name: &str| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/pictures/");
            let bytes = std::fs::read(format!("{path}{name}")).expect("it is in the tree");
            grey(&bytes).map(|(width, pixels)| look(width, &pixels))
        };
        let text = Some(Ok("quid://x".to_owned()));
        for name in ["made-code.png", "photo-straight.png", "photo-tilted.png"] {
            assert_eq!(read(name), text, "{name}");
        }
        let link = read("made-link.png").expect("a picture").expect("a code");
        assert!(link.starts_with("quid://") && link.contains("/request/"));
        for name in ["made-white.png", "photo-blurred.png"] {
            assert_eq!(read(name), Some(Err(PictureError::NoCode)), "{name}");
        }
        for name in ["photo-unreadable.png", "photo-colour.png"] {
            assert_eq!(read(name), Some(Err(PictureError::Unreadable)), "{name}");
        }
        for name in ["made-code-cut.png", "photo-nothing.png"] {
            assert!(read(name).expect("a picture").is_err(), "{name}");
        }
        assert_eq!(read("made-link-file-cut.png"), None);
    }
}
