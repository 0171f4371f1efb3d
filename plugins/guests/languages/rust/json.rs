//! Finds its way in JSON that a host wrote: well-formed, so that nothing is
//! checked but what is looked for. A value is the text from where it begins to
//! the end of the document.

/// Where the string that `json` begins with ends.
fn string_end(json: &str) -> usize {
    let bytes = json.as_bytes();
    let mut i = 1;
    while i < bytes.len() && bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(bytes.len())
}

/// What follows the value that `json` begins with.
fn after(json: &str) -> &str {
    let bytes = json.as_bytes();
    let (mut i, mut open) = (0, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'"' => i += string_end(&json[i..]) - 1,
            b'{' | b'[' => open += 1,
            b'}' | b']' if open == 0 => break,
            b'}' | b']' => open -= 1,
            b',' | b':' if open == 0 => break,
            _ => {}
        }
        i += 1;
    }
    json[i..].trim_start()
}

/// The values within the array or object that `json` is, one after the other:
/// of an object, names and values by turns.
pub fn within(json: &str, open: char) -> impl Iterator<Item = &str> {
    let first = json.strip_prefix(open).map(str::trim_start);
    let mut next = first.filter(|rest| !rest.starts_with([']', '}']));
    std::iter::from_fn(move || {
        let value = next?;
        next = after(value).strip_prefix([',', ':']).map(str::trim_start);
        Some(value)
    })
}

/// The value of an object's member.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = within(object, '{');
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if key[1..].strip_prefix(name).is_some_and(|rest| rest.starts_with('"')) {
            return Some(value);
        }
    }
    None
}

/// The string that `json` begins with, decoded.
pub fn string(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?;
    let mut chars = inner[..string_end(json) - 2].chars();
    let mut out = String::new();
    let mut units = Vec::new(); // UTF-16, of escapes in a row
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next()? } else { c };
        if c == '\\' && escaped == 'u' {
            units.push(u16::from_str_radix(&chars.as_str()[..4], 16).ok()?);
            chars.nth(3);
            continue;
        }
        out.push_str(&String::from_utf16_lossy(&units));
        units.clear();
        out.push(match escaped {
            _ if c != '\\' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        });
    }
    out.push_str(&String::from_utf16_lossy(&units));
    Some(out)
}

/// The integer that `json` begins with, or 0.
pub fn integer(json: &str) -> i64 {
    let end = json.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(json.len());
    json[..end].parse().unwrap_or(0)
}
