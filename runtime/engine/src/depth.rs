//! How deep JSON is nested, without parsing it.

/// Returns whether a JSON text is nested no deeper than `most`.
pub(crate) fn is_within(text: &str, most: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > most {
                    return false;
                }
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_and_those_in_texts_do_not() {
        assert!(is_within("7", 0));
        assert!(is_within(r#"{"a":[1,{"b":[]}]}"#, 4));
        assert!(!is_within(r#"{"a":[1,{"b":[]}]}"#, 3));
        assert!(is_within(r#"["[[[", "\"[[[", "\\"]"#, 1));
        assert!(!is_within(&"[".repeat(65), 64));
        assert!(is_within("[[],[],[],[]]", 2));
    }
}
