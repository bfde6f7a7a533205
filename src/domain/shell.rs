//! Text of others as a part of a command to copy. Nothing in it may become a command, and nothing may
//! hide what a line does.

use std::fmt::Write as _;

/// A text as one word of a POSIX shell, as short as can be.
pub fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:=,+@%".contains(&byte);
    let is_plain = !text.is_empty() && text.bytes().all(plain);
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// A flag of a command, and its value. Without `=`, a value that begins with `-` is taken for a flag.
pub fn flag(name: &str, value: &str) -> String {
    format!("--{name}={}", quote(value))
}

/// A text as one word of a POSIX shell, in quotes. Control characters, and characters that change
/// the direction of a text or are not seen, are written as octal numbers. A line feed at the end
/// stays one: a shell would drop it otherwise.
pub fn quoted(text: &str) -> String {
    if !text.chars().any(is_hidden) {
        return in_quotes(text);
    }
    let body = text.trim_end_matches('\n');
    let end = &text[body.len()..];
    let mut format = String::new();
    for character in body.chars() {
        match character {
            '\\' => format.push_str("\\\\"),
            '%' => format.push_str("%%"),
            '\'' => format.push_str(r"'\''"),
            character if is_hidden(character) => {
                for byte in character.to_string().bytes() {
                    let _ = write!(format, "\\{byte:03o}");
                }
            }
            character => format.push(character),
        }
    }
    // `printf` takes a format that begins with `-` for options.
    let printed = if body.is_empty() { String::new() } else { format!("\"$(printf -- '{format}')\"") };
    let end = if end.is_empty() { String::new() } else { in_quotes(end) };
    format!("{printed}{end}")
}

fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as a literal of SQL.
pub fn literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    // With a backslash in it, what a plain literal means depends on a setting.
    if text.contains('\\') { format!("E{}", quoted.replace('\\', r"\\")) } else { quoted }
}

/// JSON in ASCII where a character is not seen: the same value, and a line that shows what it does.
pub fn visible_json(json: &str) -> String {
    let mut visible = String::with_capacity(json.len());
    for character in json.chars() {
        // Outside of strings, JSON has no such characters but white space.
        if is_hidden(character) && !matches!(character, '\n' | '\r' | '\t') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(visible, "\\u{unit:04x}");
            }
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Whether a character is not seen, or changes how others are seen.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// The words that a shell makes of some quoted texts.
    fn words(texts: &[String]) -> Vec<String> {
        let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
        let script = format!("printf '%s\\0' {}", quoted.join(" "));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{script:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_text_is_one_word_and_one_literal() {
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
        assert_eq!(flag("partition-key", "-it's"), r"--partition-key='-it'\''s'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\b'c"), r"E'a\\b''c'");
    }

    #[test]
    fn hostile_texts_are_words_and_nothing_else() {
        let texts = [
            "",
            " ",
            "'",
            "''",
            "'; touch x",
            "$(touch x)",
            "`touch x`",
            "@/etc/passwd",
            "-n",
            "--",
            "a\nb",
            "a\n",
            "\n",
            "\n\n",
            "\na",
            "%s%n",
            "\\",
            "\\n",
            "\\'\n",
            "!!",
            "~",
            "*",
            "#x",
            "a&b",
            "\u{202e}cod.exe",
            "-\u{7}",
            "%\u{1b}[31m",
            "a\r\n",
            "é\u{200b}",
            "\u{1}7",
            "\"$HOME\"\t",
        ];
        assert_eq!(words(&texts.map(str::to_owned)), texts);
        for text in texts {
            let shown = quote(text);
            assert!(!shown.trim_end_matches(['\n', '\'']).chars().any(is_hidden), "{shown:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_texts_are_the_same_after_a_shell(
            texts in proptest::collection::vec("([^\\x00]|['\"\\\\$`%\n\r\u{202e}@;-]){0,12}", 1..20)
        ) {
            prop_assert_eq!(words(&texts), texts);
        }

        #[test]
        fn visible_json_is_the_same_value(text in "(.|[\u{7f}\u{202e}\u{feff}\u{e0041}\"\\\\]){0,20}") {
            let json = serde_json::to_string(&text).unwrap();
            let visible = visible_json(&json);
            prop_assert!(!visible.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<String>(&visible).unwrap(), text);
        }
    }
}
