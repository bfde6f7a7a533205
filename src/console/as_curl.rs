//! A request to a receiver as a line for a shell. Everything here is pure.

use std::fmt::Write as _;

use crate::domain::{planned_request::PlannedRequest, shell::quote};

/// The longest body that a line holds, in bytes. A word of a command has a limit on every system.
pub(super) const BODY_MAX: usize = 64 * 1024;

/// The request as a command; `None` if its body is too long for one. A header whose value is left out
/// is taken from a variable of the shell.
pub(super) fn as_curl(request: &PlannedRequest) -> Option<String> {
    let body = std::str::from_utf8(&request.body).ok().filter(|body| body.len() <= BODY_MAX)?;
    // Without --globoff, curl reads brackets in a URL as patterns.
    let mut line = format!("curl --globoff -X {} {}", quote(&request.method), quote(&request.url));
    for (name, value) in &request.headers {
        // curl knows host and length better.
        if name == "host" || name == "content-length" {
            continue;
        }
        line.push_str(" \\\n  -H ");
        match value.as_deref() {
            // With a colon and nothing behind it, curl would leave the header out.
            Some("") => line.push_str(&quote(&format!("{name};"))),
            Some(value) => line.push_str(&quote(&format!("{name}: {value}"))),
            None => {
                let _ = write!(line, "{}\"${}\"", quote(&format!("{name}: ")), variable(name));
            }
        }
    }
    // Unlike --data, this never reads a file that a body beginning with @ would name.
    line.push_str(" \\\n  --data-raw ");
    line.push_str(&quote(body));
    Some(line)
}

/// The variable that stands for the value of a header.
fn variable(header: &str) -> String {
    let letter =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte.to_ascii_uppercase()) } else { '_' };
    format!("HEADER_{}", header.bytes().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What a shell passes to curl, and what it says on its own.
    fn words(line: &str) -> Vec<String> {
        let script = format!("HEADER_X__SECRET=s3cret\ncurl() {{ printf '%s\\0' \"$@\"; }}\n{line}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{script}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_sends_what_is_shown_whatever_the_texts_are() {
        for hostile in [
            "'; touch x",
            "a\nb\n",
            "@/etc/passwd",
            "$(touch x)`touch x`",
            "-d x",
            "",
            "\u{202e}%s\\n\"",
            "[1-3]{a,b}",
        ] {
            let header = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
            let request = PlannedRequest {
                method: "POST".to_owned(),
                url: format!("https://example.com/{hostile}"),
                headers: vec![
                    header("host", "example.com"),
                    header("x-a", hostile),
                    ("x-`secret".to_owned(), None),
                    header("webhook-signature", "v1,a+b/c="),
                ],
                body: hostile.to_owned().into(),
                batch: false,
            };
            let own = if hostile.is_empty() { "x-a;".to_owned() } else { format!("x-a: {hostile}") };
            let url = format!("https://example.com/{hostile}");
            let expected = [
                "--globoff",
                "-X",
                "POST",
                &url,
                "-H",
                &own,
                "-H",
                "x-`secret: s3cret",
                "-H",
                "webhook-signature: v1,a+b/c=",
                "--data-raw",
                hostile,
            ];
            assert_eq!(words(&as_curl(&request).unwrap()), expected);
        }
    }

    #[test]
    fn a_long_body_is_no_word_of_a_command() {
        let request = |length: usize| PlannedRequest {
            method: "POST".to_owned(),
            url: "http://a/".to_owned(),
            headers: Vec::new(),
            body: "1".repeat(length).into(),
            batch: false,
        };
        assert!(as_curl(&request(BODY_MAX)).is_some());
        assert_eq!(as_curl(&request(BODY_MAX + 1)), None);
    }
}
