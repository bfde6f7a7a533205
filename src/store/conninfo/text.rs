//! Reads a connection string: a URL, or a list of keywords and values.

use super::{error::ConninfoError, keywords};

/// Keywords and their values, in the order in which they stand there.
pub(super) type Pairs = Vec<(&'static str, String)>;

const ESCAPE: &str = "a user name or a password that holds one of : / ? # [ ] @ % must write it as % and two \
                      digits, for example %40 for @";

/// Reads a connection string.
///
/// # Errors
/// [`ConninfoError`] that quotes nothing of it.
pub(super) fn parse(text: &str) -> Result<Pairs, ConninfoError> {
    let text = text.trim();
    let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
    if let Some(rest) = rest {
        return url(rest);
    }
    if text.contains("://") && !text.split("://").next().unwrap_or_default().contains(['=', ' ', '\'']) {
        return Err(ConninfoError::Syntax("a URL must begin with postgresql:// or postgres://"));
    }
    if !text.contains('=') {
        return Err(ConninfoError::Syntax(
            "neither a URL (postgresql://user@host/database) nor keywords and values (host=... dbname=...)",
        ));
    }
    list(text)
}

/// The part of a URL after `postgresql://`.
fn url(rest: &str) -> Result<Pairs, ConninfoError> {
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (authority, database) =
        place.split_once('/').map_or((place, None), |(authority, database)| (authority, Some(database)));
    // A / or ? in a password ends the part that holds it too early. What follows then holds the @.
    // As host, port or database it would be shown in errors.
    if database.is_some_and(|database| database.contains('@'))
        || query.is_some_and(|query| {
            query.split('&').any(|pair| pair.split('=').next().is_some_and(|key| key.contains('@')))
        })
        || authority.matches('@').count() > 1
    {
        return Err(ConninfoError::Syntax(ESCAPE));
    }
    let mut pairs = Pairs::new();
    let (credentials, hosts) = authority
        .split_once('@')
        .map_or((None, authority), |(credentials, hosts)| (Some(credentials), hosts));
    if let Some(credentials) = credentials {
        let (user, password) = credentials
            .split_once(':')
            .map_or((credentials, None), |(user, password)| (user, Some(password)));
        push(&mut pairs, "user", user)?;
        push(&mut pairs, "password", password.unwrap_or_default())?;
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = host_and_port(host)?;
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    if names.iter().any(|name| !name.is_empty()) {
        pairs.push(("host", names.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port", ports.join(",")));
    }
    push(&mut pairs, "dbname", database.unwrap_or_default())?;
    let parameters = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for (index, pair) in parameters.enumerate() {
        let (key, value) = pair
            .split_once('=')
            .ok_or(ConninfoError::Syntax("a parameter after ? has no value: write keyword=value"))?;
        let key = decode(key)?;
        // As libpq takes it, for URLs that were made for JDBC.
        if key == "ssl" && value == "true" {
            pairs.push(("sslmode", "require".to_owned()));
            continue;
        }
        push(&mut pairs, keyword(&key, index)?, value)?;
    }
    Ok(pairs)
}

/// Splits `host:port`, `[::1]:port` or `host`.
fn host_and_port(text: &str) -> Result<(&str, &str), ConninfoError> {
    let (name, rest) = if let Some(address) = text.strip_prefix('[') {
        address
            .split_once(']')
            .ok_or(ConninfoError::Syntax("an IPv6 address begins with [ and does not end with ]"))?
    } else {
        let end = text.find(':').unwrap_or(text.len());
        text.split_at(end)
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port,
        None if rest.is_empty() => "",
        None => return Err(ConninfoError::Syntax("after an IPv6 address in [ ] only a port may follow")),
    };
    if port.contains(':') {
        return Err(ConninfoError::Syntax("a host has two ports; an IPv6 address must stand in [ ]"));
    }
    Ok((name, port))
}

fn push(pairs: &mut Pairs, keyword: &'static str, value: &str) -> Result<(), ConninfoError> {
    let value = decode(value)?;
    if !value.is_empty() {
        pairs.push((keyword, value));
    }
    Ok(())
}

/// Reads `%` and two digits as a byte.
fn decode(text: &str) -> Result<String, ConninfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(ConninfoError::Syntax(
                "after a % there are not two hexadecimal digits; write %25 for %",
            ));
        };
        match u8::try_from(high * 16 + low) {
            Ok(0) | Err(_) => return Err(ConninfoError::Syntax("%00 may not stand in a URL")),
            Ok(byte) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| ConninfoError::Syntax("what % stands for is not UTF-8"))
}

/// `keyword = value keyword = 'value with spaces'`, with `\` before a quote or a backslash.
fn list(text: &str) -> Result<Pairs, ConninfoError> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    for index in 0.. {
        if rest.is_empty() {
            break;
        }
        let end =
            rest.find(|character: char| character == '=' || character.is_whitespace()).ok_or(NO_VALUE)?;
        let name = &rest[..end];
        let after = rest[end..].trim_start().strip_prefix('=').ok_or(NO_VALUE)?;
        let name = keyword(name, index)?;
        let (value, after) = value(after.trim_start())?;
        if !value.is_empty() {
            pairs.push((name, value));
        }
        rest = after.trim_start();
    }
    Ok(pairs)
}

const NO_VALUE: ConninfoError =
    ConninfoError::Syntax("a keyword has no value; a value that holds spaces must stand in single quotes");

/// One value, and what comes after it.
fn value(text: &str) -> Result<(String, &str), ConninfoError> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |text| (true, text));
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            '\'' if quoted => {
                let after = &text[at + 1..];
                if !after.is_empty() && !after.starts_with(char::is_whitespace) {
                    return Err(ConninfoError::Syntax("after a closing quote there is no space"));
                }
                return Ok((value, after));
            }
            space if !quoted && space.is_whitespace() => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if quoted {
        return Err(ConninfoError::Syntax("a quoted value does not end"));
    }
    Ok((value, ""))
}

fn keyword(name: &str, index: usize) -> Result<&'static str, ConninfoError> {
    keywords::find(name)
        .map(|keyword| keyword.name)
        .ok_or_else(|| ConninfoError::Unknown { place: index + 1, near: keywords::nearest(name) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Vec<(&'static str, String)> {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn expect(text: &str, pairs: &[(&str, &str)]) {
        let found = parsed(text);
        let expected: Vec<_> = pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        expect("postgresql://", &[]);
        expect("postgresql:///app", &[("dbname", "app")]);
        expect("postgres://db.example.com", &[("host", "db.example.com")]);
        expect(
            "postgresql://app:p%40ss%3A@db:5433/orders?sslmode=require&application_name=a%20b",
            &[
                ("user", "app"),
                ("password", "p@ss:"),
                ("host", "db"),
                ("port", "5433"),
                ("dbname", "orders"),
                ("sslmode", "require"),
                ("application_name", "a b"),
            ],
        );
        expect(
            "postgresql://a,b:6000,[::1]:7000/x",
            &[("host", "a,b,::1"), ("port", ",6000,7000"), ("dbname", "x")],
        );
        expect("postgresql://u@%2Fvar%2Frun/x", &[("user", "u"), ("host", "/var/run"), ("dbname", "x")]);
        expect("postgresql:///x?host=/tmp&port=5433", &[("dbname", "x"), ("host", "/tmp"), ("port", "5433")]);
        expect("postgresql://h/?ssl=true", &[("host", "h"), ("sslmode", "require")]);
        expect(
            "postgresql://u@h/x?password=a@b",
            &[("user", "u"), ("host", "h"), ("dbname", "x"), ("password", "a@b")],
        );
    }

    #[test]
    fn lists_are_read_as_libpq_reads_them() {
        expect("host=db dbname = orders", &[("host", "db"), ("dbname", "orders")]);
        expect(
            r"user='a b' password='it\'s \\' host=h\ i",
            &[("user", "a b"), ("password", r"it's \"), ("host", "h i")],
        );
        expect("host='' dbname=x", &[("dbname", "x")]);
    }

    #[test]
    fn what_cannot_be_read_is_named_without_being_quoted() {
        for (text, says) in [
            ("", "neither a URL"),
            ("db.example.com", "neither a URL"),
            ("mysql://u:SECRET@h/x", "must begin with postgresql://"),
            ("postgresql://u:a/SECRET@h/x", "%40 for @"),
            ("postgresql://u:a?SECRET@h/x", "%40 for @"),
            ("postgresql://u:a@SECRET@h/x", "%40 for @"),
            ("postgresql://u:%SECRET@h/x", "hexadecimal"),
            ("postgresql://u:SECRET%ff@h/x", "UTF-8"),
            ("postgresql://[::1/x", "IPv6"),
            ("postgresql://h/x?SECRET", "no value"),
            ("postgresql://h/x?SECRET=1", "number 1 is unknown"),
            ("postgresql://h/x?sslmod=require", "did you mean sslmode?"),
            ("password=a SECRET", "no value"),
            ("password=a SECRET=1", "number 2 is unknown"),
            ("password='SECRET", "does not end"),
            ("password='a'SECRET", "no space"),
        ] {
            let said = parse(text).expect_err(text).to_string();
            assert!(said.contains(says) && !said.contains("SECRET"), "{text}: {said}");
        }
    }

    proptest! {
        /// Whatever stands in the password, it comes through or nothing of it is shown.
        #[test]
        fn a_password_is_read_or_hidden(password in "[ -~]{6,20}") {
            let marked = format!("{password}SECRET");
            for text in [format!("postgresql://u:{marked}@h/x"), format!("host=h password={marked} dbname=x")] {
                match parse(&text) {
                    Err(error) => prop_assert!(!error.to_string().contains("SECRET"), "{error}"),
                    Ok(pairs) => for (key, value) in pairs {
                        prop_assert!(key == "password" || !value.contains("SECRET"), "{text}: {key}={value}");
                    },
                }
            }
        }

        #[test]
        fn an_encoded_password_comes_through(password in "\\PC{1,20}") {
            let encoded: Vec<_> = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let encoded = encoded.concat();
            let pairs = parse(&format!("postgresql://u:{encoded}@h/x"))?;
            prop_assert!(pairs.contains(&("password", password)));
        }
    }
}
