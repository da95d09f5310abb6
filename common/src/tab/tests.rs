use super::*;

#[test]
fn units_are_plain_numbers_within_bounds() {
    assert_eq!(parse_units("1"), Ok(1));
    assert_eq!(parse_units("1048576"), Ok(LENGTH_MAX));
    for text in [
        "",
        "0",
        "+1",
        "-1",
        "1.0",
        "1048577",
        "99999999999",
        " 1",
        "1e3",
        "١",
    ] {
        assert_eq!(parse_units(text), Err(UnitsError), "{text}");
    }
}
