//! What JSON has to hold.

use serde_json::Value;

/// Returns where `found` does not hold what is `expected`, if anywhere: objects may hold more keys,
/// lists are as long and hold each element, the rest is equal.
pub fn difference(found: &Value, expected: &Value) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().find_map(|(key, expected)| match found.get(key) {
                Some(found) => Some(format!(".{key}{}", difference(found, expected)?)),
                None => Some(format!(".{key}: is missing")),
            })
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            let mut pairs = (0..).zip(found.iter().zip(expected));
            pairs.find_map(|(at, (found, expected))| {
                Some(format!("[{at}]{}", difference(found, expected)?))
            })
        }
        _ if found == expected => None,
        _ => Some(format!(": is {found}, not {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_differs_is_named() {
        let found = json!({ "a": { "b": [1, { "c": 2, "d": 3 }] }, "e": null });
        let seen = |expected| difference(&found, &expected);
        assert_eq!(seen(json!({ "a": { "b": [1, { "c": 2 }] }, "e": null })), None);
        let other = json!({ "a": { "b": [1, { "c": 3 }] } });
        assert_eq!(seen(other).as_deref(), Some(".a.b[1].c: is 2, not 3"));
        assert_eq!(seen(json!({ "x": null })).as_deref(), Some(".x: is missing"));
        let short = json!({ "a": { "b": [1] } });
        let told = ".a.b: is [1,{\"c\":2,\"d\":3}], not [1]";
        assert_eq!(seen(short).as_deref(), Some(told));
    }
}
