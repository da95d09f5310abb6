//! Seeds that can be made: the wire tests' sample of everything, as each target takes it. What
//! fuzzing found beyond them lies in `seeds/` as files alone.

use qrcode::{EcLevel, QrCode};
use quid_common::address::DirectoryAddress;
use quid_common::key::SecretKey;
use quid_common::request::RequestLink;
use quid_common::tls::TlsIdentity;

use crate::evidence::Genuine;
use crate::pictures::paint;
use crate::world::PAYMENT;

/// Target, name and content of every seed that can be made.
#[must_use]
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = of_specimens();
    seeds.extend(of_files());
    seeds.extend(of_texts());
    seeds.extend(of_lists());
    seeds.extend(of_pictures());
    seeds
}

fn of_specimens() -> Vec<(&'static str, String, Vec<u8>)> {
    let genuine = Genuine::get();
    let mut seeds = Vec::new();
    let mut frames = Vec::new();
    for specimen in &genuine.specimens {
        let (name, bytes) = (specimen.name.replace('.', "-"), &specimen.bytes);
        let mut parts = specimen.name.split('.');
        let target = match parts.next() {
            Some("message") => {
                let kind: u16 = parts.next().and_then(|kind| kind.parse().ok()).unwrap_or(0);
                let len = u32::try_from(bytes.len()).expect("short");
                if frames.len() < 4_000 {
                    frames.extend([&len.to_be_bytes()[..], &kind.to_be_bytes(), bytes].concat());
                }
                let choice = u8::try_from(kind).expect("kinds are small so far");
                let bytes = [&[choice], &bytes[..]].concat();
                let target = match kind {
                    0..16 => "stranger",
                    16..32 => "account",
                    32..48 => "settlement",
                    48..64 => "events",
                    64..80 => "peer",
                    _ => "tab_stream",
                };
                seeds.push((target, name, bytes));
                continue;
            }
            Some("entry") => "entries",
            Some("receipt") => "receipts",
            Some("fork") => "forks",
            Some("checkpoint") => {
                let text = genuine.world.checkpoint();
                seeds.push(("heads", name, [b"\0", text.as_str().as_bytes()].concat()));
                continue;
            }
            _ => "facts",
        };
        seeds.push((target, name, bytes.clone()));
    }
    let stream = [&[4, 7], &frames[..]].concat();
    seeds.push(("frames", "stream".to_owned(), stream));
    seeds
}

fn of_files() -> Vec<(&'static str, String, Vec<u8>)> {
    let world = &Genuine::get().world;
    let key = SecretKey::from_seed(&[5; 32]);
    let pem = key.to_pem().expect("it encodes").as_bytes().to_vec();
    let identity = TlsIdentity::new(&key.seed()).expect("a key");
    let text = world.receipt(PAYMENT).to_text().into_bytes();
    let fork = world.fork().to_text().into_bytes();
    let public = key.public();
    let link = link().into_bytes();
    vec![
        ("arguments", "link".to_owned(), link),
        ("receipts", "text".to_owned(), text),
        ("forks", "text".to_owned(), fork),
        ("keys", "pem".to_owned(), pem),
        ("keys", "text".to_owned(), public.to_string().into_bytes()),
        ("keys", "bytes".to_owned(), public.as_bytes().to_vec()),
        (
            "keys",
            "certificate".to_owned(),
            identity.certificate().to_vec(),
        ),
        ("keys", "small-order".to_owned(), vec![0; 32]),
    ]
}

/// A link to a request.
fn link() -> String {
    let world = &Genuine::get().world;
    let directory = DirectoryAddress::new(world.directory.public(), "directory.example", 4433);
    let link = RequestLink::new(directory.expect("an address"), world.request());
    link.expect("bob has signed it").to_string()
}

fn of_texts() -> Vec<(&'static str, String, Vec<u8>)> {
    const ARGUMENTS: [&str; 28] = [
        "0",
        "1.5",
        "007",
        "9223372036854.775807",
        "9223372036854775808",
        "0.000000001",
        "1e3",
        "1,5",
        "٣",
        "quid://25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena@directory.example:4433",
        "quid://[2001:db8::7]:4433",
        "quid://localhost:4433/request/x",
        "QUID://user:password@host:1?query#fragment",
        "localhost",
        "0.0.0.0:1",
        "127.1:1",
        "[::]:65536",
        "host_name-1.example:0",
        "alice",
        "a1ice_0-9",
        "treasury",
        "rnvvl",
        "019aab12-3456-7abc-8def-0123456789ab",
        "15151515151515151515151515151515",
        "30m",
        "86400s",
        "1048576",
        "24h",
    ];
    const TEXTS: [&str; 8] = [
        "for tea",
        "\u{1b}[31mred\u{7}",
        "a\r\n\tb\\n",
        "\u{202e}gnp.exe\u{2066}",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}",
        "\u{9b}31m\u{85}\u{2028}",
        "日本語 🏳\u{fe0f}\u{200d}🌈",
        "\u{3164}\u{e000}\u{fff9}\u{feff}",
    ];
    let argument =
        |(at, text): (usize, &&str)| ("arguments", format!("text-{at}"), text.as_bytes().to_vec());
    let arguments = ARGUMENTS.iter().enumerate().map(argument);
    let text = |(at, text): (usize, &&str)| {
        let width = u8::try_from(3 * at).unwrap_or(0);
        (
            "printable",
            format!("text-{at}"),
            [&[width], text.as_bytes()].concat(),
        )
    };
    arguments
        .chain(TEXTS.iter().enumerate().map(text))
        .collect()
}

/// Lists of operations and of changes: any bytes are one.
fn of_lists() -> Vec<(&'static str, String, Vec<u8>)> {
    let targets = [
        ("frames", 40),
        ("heads", 60),
        ("tab_claims", 300),
        ("ledger_rules", 500),
        ("snapshot", 60),
        ("redo", 60),
        ("data_folder", 40),
        ("home_folder", 40),
        ("account_keys", 500),
        ("pictures", 400),
    ];
    let mut state = 1_u64;
    let mut seeds = Vec::new();
    for (target, len) in targets {
        for number in 0..6_u8 {
            let draw = || {
                // Knuth's MMIX generator: the same bytes for ever.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let mut bytes: Vec<u8> = std::iter::repeat_with(draw).take(len).collect();
            bytes[0] = number;
            bytes[1] = 1;
            seeds.push((target, format!("list-{number}"), bytes));
        }
    }
    seeds
}

/// PNG files that can be looked at: a code, none, and what is left of one that was cut; and a code
/// as rows.
fn of_pictures() -> Vec<(&'static str, String, Vec<u8>)> {
    let code = |text: &str| QrCode::with_error_correction_level(text, EcLevel::L).expect("short");
    let (width, small) = paint(&code("quid://x"), 2);
    let (link_width, link) = paint(&code(&link()), 3);
    // A band of soil through the middle, and a picture that ends in the code.
    let mut soiled = small.clone();
    let middle = soiled.len() / 2;
    soiled[middle..middle + 6 * width].fill(128);
    let cut = &small[..width * width * 2 / 3 / width * width];
    let whole = png(link_width, &link);
    let rows = [&[0, 0, width as u8], &small[..]].concat();
    let text = [&[2, 2, 40][..], &[b'7'; 40]].concat();
    [
        ("code.png", png(width, &small)),
        ("link-file-cut.png", whole[..whole.len() / 2].to_vec()),
        ("link.png", whole),
        ("code-cut.png", png(width, cut)),
        ("code-soiled.png", png(width, &soiled)),
        ("white.png", png(64, &[255; 64 * 48])),
        ("rows", rows),
        ("drawn", text),
    ]
    .map(|(name, bytes)| ("pictures", name.to_owned(), bytes))
    .to_vec()
}

/// A grey picture as a PNG file.
fn png(width: usize, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let height = pixels.len() / width;
    let sides = [width, height].map(|side| u32::try_from(side).expect("small"));
    let mut encoder = png::Encoder::new(&mut bytes, sides[0], sides[1]);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("it is written to memory");
    writer
        .write_image_data(pixels)
        .expect("it is written to memory");
    writer.finish().expect("it is written to memory");
    bytes
}
