//! What the page is made of, as it stands in `page/`.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Its name, below the wallet's path.
    pub(super) name: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl IntoResponse for File {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, self.kind)], self.text).into_response()
    }
}

/// The page itself, for whoever shows `token`.
pub(super) fn page(token: &str) -> String {
    include_str!("page/index.html").replace("{{token}}", token)
}

/// The page that follows the link: the cookie goes with what it leads to, since that is asked for
/// by a page of our own.
pub(super) const OPENED: &str = include_str!("page/opened.html");

/// All files but the pages.
pub(super) const FILES: [File; 20] = [
    style("base.css", include_str!("page/base.css")),
    style("wallet.css", include_str!("page/wallet.css")),
    image("icon.svg", include_str!("page/icon.svg")),
    script("app.js", include_str!("page/app.js")),
    script("home.js", include_str!("page/home.js")),
    script("register.js", include_str!("page/register.js")),
    script("dom.js", include_str!("page/dom.js")),
    script("node.js", include_str!("page/node.js")),
    script("chart.js", include_str!("page/chart.js")),
    script("pay.js", include_str!("page/pay.js")),
    script("link.js", include_str!("page/link.js")),
    script("outcome.js", include_str!("page/outcome.js")),
    script("scan.js", include_str!("page/scan.js")),
    script("ask.js", include_str!("page/ask.js")),
    script("history.js", include_str!("page/history.js")),
    script("receipt.js", include_str!("page/receipt.js")),
    script("tabs.js", include_str!("page/tabs.js")),
    script("opening.js", include_str!("page/opening.js")),
    script("opened.js", include_str!("page/opened.js")),
    script("hold.js", include_str!("page/hold.js")),
];

const fn style(name: &'static str, text: &'static str) -> File {
    let kind = "text/css; charset=utf-8";
    File { name, kind, text }
}

const fn script(name: &'static str, text: &'static str) -> File {
    let kind = "text/javascript; charset=utf-8";
    File { name, kind, text }
}

const fn image(name: &'static str, text: &'static str) -> File {
    let kind = "image/svg+xml";
    File { name, kind, text }
}
