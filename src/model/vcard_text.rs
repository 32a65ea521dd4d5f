//! Content lines as they are written: escaped, folded, and ended (RFC 6350, sections 3.2 and 3.4; RFC 2426 alike).

/// The most bytes of a line, without its end; what is longer is folded.
const MAX_LINE_BYTES: usize = 75;

/// `text` as the value of a text property, or as one of its components.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' | ',' | ';' => escaped.extend(['\\', c]),
            '\r' if characters.peek() == Some(&'\n') => {}
            // No line of a card may end within a value.
            '\n' | '\r' => escaped.push_str("\\n"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// The value of a structured property with these parts, as far as there are any.
pub(super) fn structured(parts: &[Option<&str>]) -> String {
    let parts = parts.iter().map(|part| escaped(part.unwrap_or_default()));
    parts.collect::<Vec<_>>().join(";")
}

/// What [`escaped`] made of a text, as the text.
pub(super) fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match characters.next() {
            Some('n' | 'N') => text.push('\n'),
            Some(c) => text.push(c),
            None => text.push('\\'),
        }
    }
    text
}

/// The parts of `value` between `separator`s that no backslash stands before.
pub(super) fn split_escaped(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escape = false;
    value.split(move |c| {
        let is_escaped = escape;
        escape = c == '\\' && !is_escaped;
        c == separator && !is_escaped
    })
}

/// Adds `line` to `text`, folded between characters, but not behind a `=` (short of a whole line of them): what is said to
/// be quoted-printable goes on softly there, and would lose it.
pub(super) fn push_line(text: &mut String, line: &str) {
    let mut room = MAX_LINE_BYTES;
    for (place, c) in line.char_indices() {
        let begins_signs = c == '=' && !line[..place].ends_with('=');
        let needed = if begins_signs {
            together(&line[place..])
        } else {
            c.len_utf8()
        };
        if needed > room && (room < c.len_utf8() || needed < MAX_LINE_BYTES) {
            text.push_str("\r\n ");
            room = MAX_LINE_BYTES - 1;
        }
        text.push(c);
        room -= c.len_utf8();
    }
    text.push_str("\r\n");
}

/// How many bytes `text` has up to behind the first character that is no `=`.
fn together(text: &str) -> usize {
    let signs = text.len() - text.trim_start_matches('=').len();
    let next = text[signs..].chars().next();
    signs + next.map_or(0, char::len_utf8)
}

/// The parts of `text` between `separator`s that stand in no quotes.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_long_and_no_character_is_torn() {
        let mut text = String::new();
        push_line(&mut text, &format!("NOTE:{}", "né\u{1f600}".repeat(100)));
        assert!(text.split("\r\n").all(|line| line.len() <= MAX_LINE_BYTES));
        let unfolded = text.replace("\r\n ", "");
        assert_eq!(unfolded, format!("NOTE:{}\r\n", "né\u{1f600}".repeat(100)));
    }

    #[test]
    fn a_fold_is_no_soft_break() {
        for before in 0..MAX_LINE_BYTES {
            for signs in [1, 2, 5, 200] {
                let line = format!("X:{}{}é", "a".repeat(before), "=".repeat(signs));
                let mut text = String::new();
                push_line(&mut text, &line);
                assert!(text.split("\r\n").all(|line| line.len() <= MAX_LINE_BYTES));
                assert!(signs > MAX_LINE_BYTES || !text.contains("=\r\n "), "{text}");
                assert_eq!(text.replace("\r\n ", ""), format!("{line}\r\n"));
            }
        }
    }

    #[test]
    fn no_value_ends_its_line() {
        assert_eq!(escaped("a\r\nb\rc\nd;e,f\\g"), "a\\nb\\nc\\nd\\;e\\,f\\\\g");
    }

    #[test]
    fn what_is_escaped_separates_nothing_and_is_read_as_it_was() {
        let parts = ["a;  b,c\\", "", "d\ne"];
        let value = structured(&[Some(parts[0]), None, Some(parts[2])]);
        let read: Vec<String> = split_escaped(&value, ';').map(unescaped).collect();
        assert_eq!(read, parts);
    }

    #[test]
    fn quotes_hide_separators() {
        let parts: Vec<&str> = split_unquoted("TEL;X=\"a;b\";TYPE=c", ';').collect();
        assert_eq!(parts, ["TEL", "X=\"a;b\"", "TYPE=c"]);
    }
}
