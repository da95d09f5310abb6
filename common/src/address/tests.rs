//! Addresses that are good, and what is said of those that are not.

use proptest::prelude::*;

use super::*;

#[test]
fn addresses_read_back_as_they_are_written() {
    let label = "a".repeat(LABEL_LEN_MAX);
    let rest = "b".repeat(HOST_LEN_MAX - 3 * 64);
    let longest = format!("{label}.{label}.{label}.{rest}");
    assert_eq!(longest.len(), HOST_LEN_MAX);
    for (place, host, port) in [
        ("directory.example:4433", "directory.example", 4433),
        ("localhost:1", "localhost", 1),
        ("a:65535", "a", 65535),
        ("my_service.internal:443", "my_service.internal", 443),
        ("xn--bcher-kva.example:443", "xn--bcher-kva.example", 443),
        ("3com.example:443", "3com.example", 443),
        ("1.2.3.a:443", "1.2.3.a", 443),
        ("127.0.0.1:4433", "127.0.0.1", 4433),
        ("192.0.2.7:4433", "192.0.2.7", 4433),
        ("[::1]:4433", "::1", 4433),
        ("[2001:db8::7]:4433", "2001:db8::7", 4433),
        ("[::ffff:192.0.2.7]:4433", "::ffff:192.0.2.7", 4433),
        (&format!("{longest}:65535"), &longest, 65535),
    ] {
        let text = format!("quid://{}@{place}", key());
        let address: DirectoryAddress = text.parse().expect("the row is an address");
        assert_eq!((address.host(), address.port()), (host, port));
        assert_eq!(address.key(), key());
        assert_eq!(address.to_string(), text);
        assert_eq!(text.parse(), Ok(AnyAddress::Pinned(address)));

        let text = format!("quid://{place}");
        let address: UnpinnedAddress = text.parse().expect("the row is an address");
        assert_eq!((address.host(), address.port()), (host, port));
        assert_eq!(address.to_string(), text);
        assert_eq!(text.parse(), Ok(AnyAddress::Unpinned(address)));

        let address: HostPort = place.parse().expect("the row is a host and port");
        assert_eq!((address.host(), address.port()), (host, Some(port)));
        assert_eq!(address.to_string(), place);

        let (place, _) = place.rsplit_once(':').expect("the row has a port");
        let address: HostPort = place.parse().expect("the row is a host");
        assert_eq!((address.host(), address.port()), (host, None));
        assert_eq!(address.to_string(), place);
    }
}

#[test]
fn a_host_has_one_spelling() {
    for (place, spelling) in [
        ("Directory.EXAMPLE:4433", "directory.example:4433"),
        ("[2001:DB8:0:0::7]:4433", "[2001:db8::7]:4433"),
        ("[0:0:0:0:0:0:0:1]:4433", "[::1]:4433"),
    ] {
        let text = format!("quid://{}@{place}", key());
        let address: DirectoryAddress = text.parse().expect("the row is an address");
        assert_eq!(address.to_string(), format!("quid://{}@{spelling}", key()));
    }
}

#[test]
fn other_texts_are_refused_by_the_part_that_is_wrong() {
    use AddressError::*;

    let long = "a".repeat(301);
    for (text, error) in [
        ("", NoScheme),
        ("quid", NoScheme),
        ("quid:", NoScheme),
        ("quid:KEY@h:1", NoScheme),
        ("quid:/KEY@h:1", NoScheme),
        ("KEY@h:1", NoScheme),
        ("h:1", NoScheme),
        ("://KEY@h:1", NoScheme),
        (&long, TooLong),
        (&format!("quid://KEY@h:1/request/{long}"), PaymentRequest),
        (&format!("quid://KEY@h:1/requests/{long}"), TooLong),
        ("QUID://KEY@h:1", SchemeCase),
        ("Quid://KEY@h:1", SchemeCase),
        ("http://KEY@h:1", UnknownScheme("http".to_owned())),
        ("quids://KEY@h:1", UnknownScheme("quids".to_owned())),
        (" quid://KEY@h:1", BadCharacter(' ')),
        ("quid://KEY@h:1 ", BadCharacter(' ')),
        ("quid://KEY@h:1\n", BadCharacter('\n')),
        ("quid://KEY@h\t:1", BadCharacter('\t')),
        ("quid://KEY@h\0:1", BadCharacter('\0')),
        ("quid://KEY@\u{1b}[31m:1", BadCharacter('\u{1b}')),
        ("quid://KEY@h\u{200b}:1", BadCharacter('\u{200b}')),
        ("quid://KEY@bücher.example:1", BadCharacter('ü')),
        ("quid://KEY@h:１", BadCharacter('１')),
        ("quid://KEY@h:1/", Path),
        ("quid://KEY@h:1/x", Path),
        ("quid://KEY@h:1//request/x", Path),
        ("quid://KEY@h:1/requests/x", Path),
        ("quid://KEY@h:1/x/request/y", Path),
        ("quid://KEY@h:1/request", PaymentRequest),
        ("quid://KEY@h:1/request/", PaymentRequest),
        ("quid://KEY@h:1/request/0a1b?amount=1#x", PaymentRequest),
        ("quid://KEY@h:1/request?id=1", PaymentRequest),
        ("quid://h:1/request/x", PaymentRequest),
        ("quid://KEY@h:1?", Query),
        ("quid://KEY@h:1?request/x", Query),
        ("quid://KEY@h:1#", Fragment),
        ("quid://KEY@h:1#/request", Fragment),
        ("quid://@h:1", NoKey),
        ("quid://h:1", NoKey),
        ("quid://user:password@h:1", Password),
        ("quid://KEY:@h:1", Password),
        ("quid://user@KEY@h:1", Key(KeyError::Length(4))),
        ("quid://KEY@KEY@h:1", BadHost(format!("{}@h", key()))),
        ("quid://abc@h:1", Key(KeyError::Length(3))),
        ("quid://KEY@", NoHost),
        ("quid://KEY@:1", NoHost),
        ("quid://KEY@::1:1", NoBrackets),
        ("quid://KEY@2001:db8::7", NoBrackets),
        ("quid://KEY@h:1:2", NoBrackets),
        ("quid://KEY@0.0.0.0:1", Wildcard(IpAddr::from([0; 4]))),
        ("quid://KEY@[::]:1", Wildcard(IpAddr::from([0; 16]))),
        ("quid://KEY@h", NoPort),
        ("quid://KEY@h:", NoPort),
        ("quid://KEY@[::1]", NoPort),
        ("quid://KEY@[::1]:", NoPort),
        ("quid://KEY@h:0", PortZero),
        ("quid://KEY@h:00000", PortZero),
    ] {
        let text = text.replace("KEY", &key().to_string());
        assert_eq!(text.parse::<DirectoryAddress>(), Err(error), "{text:?}");
    }
    for port in ["65536", "99999999999", "+1", "-1", "01", "1a", "http", "\\"] {
        let address = format!("quid://{}@h:{port}", key());
        let error = BadPort(port.to_owned());
        assert_eq!(address.parse::<DirectoryAddress>(), Err(error));
    }
}

#[test]
fn what_is_no_host_is_refused() {
    let label = "a".repeat(LABEL_LEN_MAX + 1);
    let name = "ab.".repeat(HOST_LEN_MAX / 3) + "a";
    assert_eq!(name.len(), HOST_LEN_MAX + 1);
    for host in [&label, &name] {
        assert_eq!(sound_host(host), Err(AddressError::BadHost(host.clone())));
    }
    let rows = r"h. .h . a..b -a a-.b a%20b a\b a,b a* $(id) <h> ] h] k@h h/x
        127.1 1.2.3.256 1.2.3.4.5 0177.0.0.1 2130706433 0x7f000001 127.0.0.0X1 0x
        [] [h] [::1 [::1]4433 [[::1]] [127.0.0.1] [fe80::1%eth0]";
    for host in rows.split_whitespace() {
        let error = AddressError::BadHost(host.to_owned());
        assert_eq!(host.parse::<HostPort>(), Err(error), "{host}");
    }
}

#[test]
fn an_unpinned_address_has_no_key() {
    let pinned = format!("quid://{}@h:1", key());
    let refused = pinned.parse::<UnpinnedAddress>();
    assert_eq!(refused, Err(AddressError::UnwantedKey));
    let unpinned: UnpinnedAddress = "quid://h:1".parse().expect("this is an address");
    assert_eq!(unpinned.with_key(key()).to_string(), pinned);
    for (text, error) in [
        ("quid://@h:1", AddressError::NoKey),
        ("quid://h", AddressError::NoPort),
    ] {
        assert_eq!(text.parse::<AnyAddress>(), Err(error));
    }
}

#[test]
fn a_host_and_port_is_nothing_more() {
    for (text, error) in [
        ("", AddressError::NoHost),
        (":1", AddressError::NoHost),
        ("h:", AddressError::NoPort),
        ("h:0", AddressError::PortZero),
        ("h:x", AddressError::BadPort("x".to_owned())),
        ("h 1", AddressError::BadCharacter(' ')),
        ("::1", AddressError::NoBrackets),
        ("0.0.0.0", AddressError::Wildcard(IpAddr::from([0; 4]))),
        ("[::]:1", AddressError::Wildcard(IpAddr::from([0; 16]))),
        ("h:1/x", AddressError::BadPort("1/x".to_owned())),
        ("quid://h:1", AddressError::UnwantedScheme),
        (&"h".repeat(301), AddressError::TooLong),
    ] {
        assert_eq!(text.parse::<HostPort>(), Err(error), "{text:?}");
    }
    for (host, port, error) in [
        ("h", 0, AddressError::PortZero),
        ("", 1, AddressError::NoHost),
    ] {
        assert_eq!(DirectoryAddress::new(key(), host, port), Err(error));
    }
}

#[test]
fn errors_are_one_printable_line_with_an_example() {
    for (text, line) in [
        (
            "quid://KEY@h:1/request/x",
            "this is a payment request, not a directory's address: pay it with `quid pay`; \
             an address ends after the port, such as quid://KEY@directory.example:4433",
        ),
        (
            "quid://KEY@a\u{9b}b:1",
            "an address cannot hold '\\u{9b}': write plain ASCII without spaces, such as \
             quid://KEY@directory.example:4433",
        ),
        (
            "quid://h:1",
            "the address has no key: write the directory's key before the host, such as \
             quid://KEY@directory.example:4433",
        ),
        (
            "quid://KEY@127.1:1",
            "the host '127.1' is neither a DNS name nor an IP address: write one, such as \
             directory.example:4433",
        ),
        (
            "quid://KEY@h:a\\b",
            "the port 'a\\\\b' is not a number from 1 to 65535: write one, such as \
             directory.example:4433",
        ),
    ] {
        let text = text.replace("KEY", &key().to_string());
        let parsed: Result<DirectoryAddress, _> = text.parse();
        assert_eq!(parsed.expect_err("the row is no address").to_string(), line);
    }
    let error = sound_host(&"%".repeat(250)).expect_err("no host holds %");
    assert!(error.to_string().len() < 200, "{error}");
}

proptest! {
    #[test]
    fn every_address_reads_back(
        key in any::<[u8; 32]>(),
        host in prop_oneof![
            "[a-z]([a-z0-9_-]{0,20}[a-z0-9])?(\\.[a-z]([a-z0-9_-]{0,20}[a-z0-9])?){0,4}",
            any::<IpAddr>()
                .prop_filter("a wildcard", |ip| !ip.is_unspecified())
                .prop_map(|ip| ip.to_string()),
        ],
        port in 1..=u16::MAX,
    ) {
        let key = PublicKey::from_bytes(key);
        let address = DirectoryAddress::new(key, &host, port).expect("the host is sound");
        prop_assert_eq!(address.host(), host);
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn any_text_is_an_address_or_a_one_line_error(
        text in prop_oneof![
            any::<String>(),
            "(quid://)?[a-z0-9@:/?#.%\\[\\]-]{0,30}",
            "\\[?[0-9a-f:.]{0,20}\\]?(:[0-9]{0,6})?",
        ],
    ) {
        match text.parse::<AnyAddress>() {
            Ok(address) => prop_assert_eq!(address.to_string().parse(), Ok(address)),
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
        }
        match text.parse::<HostPort>() {
            Ok(address) => prop_assert_eq!(address.to_string().parse(), Ok(address)),
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
        }
    }
}

fn key() -> PublicKey {
    PublicKey::from_bytes([7; 32])
}
