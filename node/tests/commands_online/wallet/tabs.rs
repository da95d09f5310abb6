//! Tabs that the page opens and closes, and asks for. It pays on none.

use std::thread;

use serde_json::{Value, json};

use super::page::Wallet;
use super::{refused, text};
use crate::processes::World;

fn opening(intent: &str, unit: &str, units: &str) -> Value {
    json!({
        "intent": intent, "payee": "bob", "unit": unit, "units": units, "life": "1h",
        "memo": "pages of <b>",
    })
}

#[test]
fn one_intent_opens_one_tab_and_every_page_sees_its_meter_and_its_end() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let _listening = bob.run(&["listen"]);
    let mut wallet = Wallet::start(&alice);
    let size = json!({ "unit": "0.01", "units": "200" });
    assert_eq!(
        wallet.ask("api/hold", &size)["item"],
        json!({ "hold": "2.000000", "currency": "QUID" })
    );
    let form = opening(&wallet.intent(), "0.01", "200");
    let page = &wallet.page;
    let opened: Vec<Value> = thread::scope(|scope| {
        let asked = [0; 4].map(|_| scope.spawn(|| page.ask("api/open-tab", &form)));
        asked.map(|asked| asked.join().expect("it answers")).into()
    });
    let tab = text(&opened[0]["item"]["tab"]);
    for told in &opened {
        let item = &told["item"];
        assert_eq!(
            (&item["tab"], &item["state"], &item["hold"]),
            (&tab.as_str().into(), &"open".into(), &"2.000000".into())
        );
    }
    // Nothing is paid by opening it.
    let mut live = wallet.follow();
    live.until("tabs", |told| told[0]["tab"] == tab && told[0]["paid"] == 0);
    alice.ok(&["tab", "pay", &tab, "25"]);
    live.until("tabs", |told| told[0]["paid"] == 25);
    // After a crash the same wish is the same tab.
    wallet.running.signal("KILL");
    wallet.running.wait();
    let wallet = Wallet::start(&alice);
    let again = wallet.ask("api/open-tab", &form);
    assert_eq!(
        (&again["item"]["tab"], &again["item"]["earlier"]),
        (&tab.as_str().into(), &true.into())
    );
    let other = opening(&text(&form["intent"]), "0.01", "201");
    refused(&wallet.ask("api/open-tab", &other), "intent_used");
    // A second click on what closes it finds it closed.
    for _ in 0..2 {
        let closed = wallet.ask("api/close-tab", &json!({ "tab": tab }));
        assert_eq!(closed["item"]["state"], "closed", "{closed}");
    }
    let mut live = wallet.follow();
    let ended = live.until("ended", |told| told[0]["tab"] == tab);
    assert_eq!(
        (&ended[0]["state"], &ended[0]["paid"], &ended[0]["reason"]),
        (&"over".into(), &25.into(), &Value::Null)
    );
    let mut live = wallet.follow();
    live.until("tabs", |told| *told == json!([]));
    assert_eq!(alice.balance(), "9.750000");
}

#[test]
fn a_tab_that_cannot_be_opened_says_why_at_its_field_and_holds_nothing() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, _bob) = (world.account("alice"), world.account("bob"));
    let wallet = Wallet::start(&alice);
    let good = || opening(&wallet.intent(), "0.01", "200");
    for (field, value) in [
        ("payee", "B ob"),
        ("unit", "0"),
        ("unit", "1e3"),
        ("unit", "0.0000001"),
        ("units", "0"),
        ("units", ""),
        ("units", "-1"),
        ("units", "1048577"),
        ("life", "25h"),
        ("life", ""),
    ] {
        let mut form = good();
        form[field] = value.into();
        let told = wallet.ask("api/open-tab", &form);
        refused(&told, "usage");
        assert_eq!(told["field"], field, "{told}");
    }
    let mut form = good();
    form["memo"] = "a".repeat(1000).into();
    assert_eq!(wallet.ask("api/open-tab", &form)["field"], "memo");
    let mut form = good();
    form["unit"] = "9000000000".into();
    form["units"] = "1048576".into();
    let told = wallet.ask("api/open-tab", &form);
    assert!(refused(&told, "usage").contains("shorter"), "{told}");
    assert_eq!(told["field"], "units");
    let mut form = good();
    form["payee"] = "nobody".into();
    refused(&wallet.ask("api/open-tab", &form), "unknown_account");
    form = good();
    form["units"] = "1001".into();
    refused(&wallet.ask("api/open-tab", &form), "insufficient_funds");
    let none = json!({ "tab": "019aab12-3456-7abc-8def-0123456789ab" });
    refused(&wallet.ask("api/close-tab", &none), "no_tab");
    let status = alice.ok(&["status"]);
    assert_eq!(
        (&status["held"], &status["tabs"]),
        (&"0.000000".into(), &0.into())
    );
}

#[test]
fn a_tab_that_the_page_asks_for_is_opened_by_its_link() {
    let world = World::start(&["--opening-balance", "10"]);
    let (alice, bob) = (world.account("alice"), world.account("bob"));
    let (payer, payee) = (Wallet::start(&alice), Wallet::start(&bob));
    let ask = |amount: &str, units: &str| {
        let form = json!({
            "amount": amount, "units": units, "memo": "pages", "life": 3600, "once": false,
        });
        payee.ask("api/request", &form)
    };
    for (amount, units, field) in [
        ("", "10", "amount"),
        ("0.01", "", "units"),
        ("0.01", "0", "units"),
        ("x", "10", "amount"),
    ] {
        let told = ask(amount, units);
        refused(&told, "usage");
        assert_eq!(told["field"], field, "{told}");
    }
    let asked = ask("0.01", "100")["item"].clone();
    assert_eq!(
        (&asked["kind"], &asked["unit"], &asked["units"]),
        (&"tab".into(), &"0.010000".into(), &100.into())
    );
    let code = format!("api/request/{}/qr.svg", text(&asked["request"]));
    assert_eq!(payee.get(&code).code, 200);
    let form = json!({ "link": asked["link"] });
    let opened = payer.ask("api/pay-link", &form)["item"].clone();
    assert_eq!(
        (&opened["state"], &opened["hold"]),
        (&"open".into(), &"1.000000".into())
    );
    payee
        .follow()
        .until("requests", |told| told[0]["state"] == "paid");
}
