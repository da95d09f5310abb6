//! Evidence as text, for keeping in a file: a line that says what it is, then base64.

use data_encoding::BASE64_MIME;

/// `bytes` under `header`, in lines of 76 characters, each ended by a line feed.
pub(crate) fn to_text(header: &str, bytes: &[u8]) -> String {
    format!("{header}\n{}", BASE64_MIME.encode(bytes).replace('\r', ""))
}

/// The bytes that [`to_text`] put under `header`; `None` for any other text. One value has one
/// text: nothing else reads as the same bytes.
pub(crate) fn from_text(header: &str, text: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix(header)?;
    let bytes = BASE64_MIME.decode(body.as_bytes()).ok()?;
    (to_text(header, &bytes) == text).then_some(bytes)
}
