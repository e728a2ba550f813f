//! Plain scalars by the core schema of YAML 1.2.

use super::Data;
use crate::diagnostic::Span;

/// Says what a plain scalar is. Whole numbers of more than 64 bits become fractions.
pub(super) fn plain(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Data::Float(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Data::Float(f64::INFINITY);
    }
    number(text, unsigned).unwrap_or_else(|| Data::Text(text.into()))
}

fn number(text: &str, unsigned: &str) -> Option<Data> {
    let radix = |prefix, radix| {
        // A sign would be read as one; it belongs to decimal numbers only.
        let digits = text.strip_prefix(prefix).filter(|rest| !rest.starts_with(['+', '-']))?;
        u64::from_str_radix(digits, radix).ok()
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(whole(number));
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(number) = text.parse() {
            return Some(Data::Int(number));
        }
        if let Ok(number) = text.parse() {
            return Some(Data::UInt(number));
        }
    }
    is_decimal(unsigned).then(|| text.parse().ok()).flatten().map(Data::Float)
}

fn whole(number: u64) -> Data {
    i64::try_from(number).map_or(Data::UInt(number), Data::Int)
}

/// Tells whether a text is `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (text, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    let number_fits = !(before.is_empty() && after.is_empty()) && digits(before) && digits(after);
    exponent_fits && number_fits
}

/// Tells whether something that looks like a tag stands before a value, be it with an anchor
/// between them.
pub(super) fn is_tagged(source: &str, value: Span) -> bool {
    let before = source.get(..value.offset as usize).unwrap_or_default();
    let apart = |c: char| c.is_whitespace() || "[]{},".contains(c);
    let mut words = before.rsplit(apart).filter(|word| !word.is_empty());
    words.find(|word| !word.starts_with('&')).is_some_and(|word| word.starts_with('!'))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::diagnostic::Problems;

    const TEXTS: &str = "~ null Null NULL nULL true True TRUE tRUE yes on 0 -0 +5 017 -017 0644 08 \
        0o17 0O17 -0o17 0o8 0x1F 0X1F -0x1F 0x+1 0xG 0b11 1_000 2024_01 1_0.5 1. .5 -.5 +.5 . + \
        1.5 1e3 1E+3 .5e-2 1e 1e+ e3 1.2.3 12:30:45 2020-01-01 9223372036854775807 \
        9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775808 \
        -9223372036854775809 0xFFFFFFFFFFFFFFFF 0x10000000000000000 inf NaN Infinity .Inf -.inf \
        .nan .nAn +.nan -.nan 1e999";

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let file = TEXTS.split_whitespace().map(|text| format!("- {text}\n")).collect::<String>();
        let node = super::super::parse(&file, &mut Problems::default()).unwrap();
        let Data::List(items) = node.data else { panic!("{node:?}") };
        let mut seen = String::new();
        for (text, item) in TEXTS.split_whitespace().zip(items) {
            assert_eq!(format!("{:?}", item.data), format!("{:?}", plain(text)), "{text}");
            if !matches!(&item.data, Data::Text(same) if same == text) {
                seen += &format!("{text} = {:?}\n", item.data);
            }
        }
        expect![[r#"
            ~ = Null
            null = Null
            Null = Null
            NULL = Null
            true = Bool(true)
            True = Bool(true)
            TRUE = Bool(true)
            0 = Int(0)
            -0 = Int(0)
            +5 = Int(5)
            017 = Int(17)
            -017 = Int(-17)
            0644 = Int(644)
            08 = Int(8)
            0o17 = Int(15)
            0x1F = Int(31)
            1. = Float(1.0)
            .5 = Float(0.5)
            -.5 = Float(-0.5)
            +.5 = Float(0.5)
            1.5 = Float(1.5)
            1e3 = Float(1000.0)
            1E+3 = Float(1000.0)
            .5e-2 = Float(0.005)
            9223372036854775807 = Int(9223372036854775807)
            9223372036854775808 = UInt(9223372036854775808)
            18446744073709551615 = UInt(18446744073709551615)
            18446744073709551616 = Float(1.8446744073709552e19)
            -9223372036854775808 = Int(-9223372036854775808)
            -9223372036854775809 = Float(-9.223372036854776e18)
            0xFFFFFFFFFFFFFFFF = UInt(18446744073709551615)
            .Inf = Float(inf)
            -.inf = Float(inf)
            .nan = Float(NaN)
            1e999 = Float(inf)
        "#]]
        .assert_eq(&seen);
    }

    #[test]
    fn quotes_and_tags_win() {
        let file = "['017', \"1_000\", !!str 017, &a !!str 017, *a, !!int 17, !!float 3, \
                    &b 0b1, *b,\n  ! 17, !!str\n  017, &c 017, *c]";
        let node = super::super::parse(file, &mut Problems::default()).unwrap();
        expect![[r#"["017","1_000","017","017","017",17,3.0,"0b1","0b1","17","017",17,17]"#]]
            .assert_eq(&node.to_json().to_string());
    }
}
