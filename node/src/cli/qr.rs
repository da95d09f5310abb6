//! QR codes of links: for a terminal, and as a picture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use qrcode::{Color, EcLevel, QrCode};

use super::failure::Failure;

/// A code's squares, the quiet border around them included.
#[derive(Clone, Debug)]
pub(crate) struct Squares {
    width: usize,
    dark: Vec<bool>,
}

impl Squares {
    /// The code of `text`, as small as can be for a screen.
    ///
    /// # Errors
    /// If no code holds so much, which a link never is.
    pub(crate) fn for_screen(text: &str) -> Result<Self, Failure> {
        Self::of(text, EcLevel::L)
    }

    /// The code of `text` that is read though a seventh of it is soiled, for paper.
    ///
    /// # Errors
    /// As [`Self::for_screen`].
    pub(crate) fn for_paper(text: &str) -> Result<Self, Failure> {
        Self::of(text, EcLevel::M)
    }

    fn of(text: &str, level: EcLevel) -> Result<Self, Failure> {
        let code = QrCode::with_error_correction_level(text, level)
            .map_err(|error| Failure::other("qr", format!("no QR code holds this: {error}")))?;
        let (inner, colors) = (code.width(), code.to_colors());
        let width = inner + 2 * QUIET;
        let mut dark = vec![false; width * width];
        for (row, line) in colors.chunks(inner).enumerate() {
            for (column, color) in line.iter().enumerate() {
                if let Some(square) = dark.get_mut((row + QUIET) * width + column + QUIET) {
                    *square = *color == Color::Dark;
                }
            }
        }
        Ok(Self { width, dark })
    }

    /// How many columns of a terminal it takes.
    pub(crate) const fn columns(&self) -> usize {
        self.width
    }

    /// The code as an SVG picture, dark on light whatever is around it.
    pub(crate) fn svg(&self) -> String {
        let width = self.width;
        let mut path = String::new();
        for (row, line) in self.dark.chunks(width).enumerate() {
            for (column, _) in line.iter().enumerate().filter(|(_, dark)| **dark) {
                path.push_str(&format!("M{column} {row}h1v1h-1z"));
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" \
             shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{width}v{width}H0z\"/>\
             <path d=\"{path}\"/></svg>\n"
        )
    }

    /// The lines of a terminal, two rows of squares each. With `colour`, dark on light whatever the
    /// terminal's own colours are; without, what is light here is drawn, as fits a dark terminal.
    pub(crate) fn lines(&self, colour: bool) -> Vec<String> {
        let row = |row: usize| self.dark.chunks(self.width).nth(row).unwrap_or_default();
        (0..self.width)
            .step_by(2)
            .map(|upper| {
                let squares = row(upper).iter().enumerate().map(|(column, &upper_dark)| {
                    // Below the last row it is light, like the border.
                    let lower_dark = row(upper + 1).get(column).copied().unwrap_or(false);
                    match (upper_dark == colour, lower_dark == colour) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    }
                });
                let line: String = squares.collect();
                if colour {
                    format!("{DARK_ON_LIGHT}{line}{PLAIN}")
                } else {
                    line
                }
            })
            .collect()
    }

    /// Writes the code as a PNG picture to `out`.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub(crate) fn write_png(&self, out: impl Write) -> io::Result<()> {
        let side = self.width * SQUARE;
        let pixels = u32::try_from(side).map_err(io::Error::other)?;
        let mut encoder = png::Encoder::new(out, pixels, pixels);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut data = Vec::with_capacity(side * side);
        for line in self.dark.chunks(self.width) {
            let line: Vec<u8> = line
                .iter()
                .flat_map(|dark| [if *dark { 0 } else { 255 }; SQUARE])
                .collect();
            for _ in 0..SQUARE {
                data.extend_from_slice(&line);
            }
        }
        let mut writer = encoder.write_header().map_err(io::Error::other)?;
        writer.write_image_data(&data).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)
    }
}

/// The new file of a picture, made before there is anything to draw, so that nothing is asked for
/// that cannot be shown. It is removed again if nothing is drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    path: PathBuf,
    file: File,
    drawn: bool,
}

impl Picture {
    /// Makes the file.
    ///
    /// # Errors
    /// If there is such a file already, or none can be made: one line with what to do.
    pub(crate) fn make(path: PathBuf) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self {
                path,
                file,
                drawn: false,
            }),
            Err(error) => {
                let shown = path.display();
                Err(Failure::files(match error.kind() {
                    io::ErrorKind::AlreadyExists => format!(
                        "{shown} is there already; nothing was asked for: choose another name, or \
                         remove that file first"
                    ),
                    _ => format!(
                        "cannot write {shown}: {error}; nothing was asked for: choose another place"
                    ),
                }))
            }
        }
    }

    /// Writes the code into it as a PNG picture; where that is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn draw(mut self, code: &Squares) -> Result<PathBuf, Failure> {
        let mut out = BufWriter::new(&self.file);
        let written = code.write_png(&mut out).and_then(|()| out.flush());
        written.map_err(|error| {
            Failure::files(format!(
                "cannot write {}: {error}; the request stands, and its link with it",
                self.path.display()
            ))
        })?;
        self.drawn = true;
        Ok(self.path.clone())
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if !self.drawn {
            // An empty picture would only be in the way.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Light squares around a code, as readers want them (ISO/IEC 18004).
const QUIET: usize = 4;

/// Pixels of a picture for the side of a square.
const SQUARE: usize = 8;

const DARK_ON_LIGHT: &str = "\x1b[38;5;16;48;5;231m";
const PLAIN: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use super::*;

    /// The squares that the lines draw, without colours.
    fn drawn(lines: &[String], drawn_is_dark: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in lines {
            let plain = line.replace(DARK_ON_LIGHT, "").replace(PLAIN, "");
            let half = |full: [char; 2]| -> Vec<bool> {
                plain
                    .chars()
                    .map(|c| full.contains(&c) == drawn_is_dark)
                    .collect()
            };
            rows.push(half(['█', '▀']));
            rows.push(half(['█', '▄']));
        }
        rows
    }

    #[test]
    fn the_lines_draw_the_squares_with_and_without_colours() {
        let squares = Squares::for_screen("quid://KEY@h:1/request/x").expect("short");
        for colour in [false, true] {
            let rows = drawn(&squares.lines(colour), colour);
            let expected: Vec<&[bool]> = squares.dark.chunks(squares.width).collect();
            assert_eq!(rows.len(), squares.width + squares.width % 2);
            for (row, expected) in rows.iter().zip(expected) {
                assert_eq!(row, expected);
            }
            assert!(rows.last().expect("a row").iter().all(|dark| !dark));
        }
    }

    #[test]
    fn the_longest_link_fits_and_the_picture_is_its_squares() {
        let text = "a".repeat(quid_common::request::LINK_LEN_MAX);
        let screen = Squares::for_screen(&text).expect("it fits");
        // Version 20 has 97 squares.
        assert!(screen.columns() <= 97 + 2 * QUIET, "{}", screen.columns());
        let paper = Squares::for_paper(&text).expect("it fits");
        let mut bytes = Vec::new();
        paper.write_png(&mut bytes).expect("memory takes it");
        let decoder = png::Decoder::new(io::Cursor::new(bytes));
        let mut reader = decoder.read_info().expect("it is a picture");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut pixels).expect("it is whole");
        let side = paper.width * SQUARE;
        assert_eq!((info.width as usize, info.height as usize), (side, side));
        for (at, dark) in paper.dark.iter().enumerate() {
            let (row, column) = (at / paper.width, at % paper.width);
            let pixel = pixels[(row * SQUARE + SQUARE / 2) * side + column * SQUARE + SQUARE / 2];
            assert_eq!(pixel == 0, *dark, "square {at}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("code.png");
        let squares = Squares::for_paper("quid").expect("short");
        let picture = Picture::make(file.clone()).expect("it is new");
        assert_eq!(picture.draw(&squares).expect("there is room"), file);
        let before = fs::read(&file).expect("it is there");
        assert!(Picture::make(file.clone()).is_err());
        assert_eq!(fs::read(&file).expect("it is there"), before);
        let other = folder.path().join("other.png");
        drop(Picture::make(other.clone()).expect("it is new"));
        assert!(!other.exists(), "nothing was drawn");
    }
}
