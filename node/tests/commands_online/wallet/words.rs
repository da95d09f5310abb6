//! What to do about a refusal is said in words of the page, where a command line names commands.

use serde_json::json;

use super::page::Wallet;
use super::{payment, refused, text};
use crate::processes::World;

#[test]
fn a_name_is_taken_on_the_page_with_the_code_that_the_directory_wants() {
    let world = World::start(&["--registration", "invite"]);
    let carol = world.home("carol");
    let wallet = Wallet::start(&carol);
    let mut live = wallet.follow();
    let told = live.until("status", |told| told["ok"] == false);
    assert!(refused(&told, "not_registered").contains("take a name"));
    let take = |invite: &str| {
        wallet.ask(
            "api/register",
            &json!({ "name": "carol", "invite": invite }),
        )
    };
    assert!(refused(&take(""), "uninvited").contains("write it here"));
    // The same at a command line.
    let line = carol.fails(&["register", "carol"], 3);
    assert!(text(&line["message"]).contains("`quid register NAME --invite CODE`"));
    let code = world.operate(&["invite"]).trim().to_owned();
    let wrong = if code.starts_with('a') { "b" } else { "a" };
    refused(&take(&format!("{wrong}{}", &code[1..])), "invite_unknown");
    assert_eq!(take(&code)["item"]["name"], "carol");
    live.until("status", |told| told["item"]["name"] == "carol");
}

#[test]
fn refusals_name_no_command_on_the_page() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let wallet = Wallet::start(&alice);
    let intent = wallet.intent();
    let told = wallet.ask("api/pay", &payment(&intent, "11"));
    assert!(refused(&told, "insufficient_funds").contains("\"Wallet\""));
    let line = alice.fails(&["pay", "bob", "11"], 3);
    assert!(text(&line["message"]).contains("`quid status`"));
    // The address of a directory in the place of a link.
    let link = text(&bob.ok(&["request", "1"])["link"]);
    let (address, _) = link.split_once("/request/").expect("it is a link");
    for at in ["api/link", "api/pay-link"] {
        let told = wallet.ask(at, &json!({ "link": address }));
        assert!(refused(&told, "usage").contains("paste the link"), "{told}");
    }
    let taken = json!({ "name": "bob" });
    refused(&wallet.ask("api/register", &taken), "already_registered");
}
