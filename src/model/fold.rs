//! Text as it is compared: case, accents and the way in which characters are composed do not matter.
//!
//! Compatibility decomposition (NFKD, UAX #15), without the marks that are accents, in lower case; and letters that
//! no decomposition takes apart are written as people without them on their keyboard write them (`đ` as `d`, `ß` as
//! `ss`). Vowel signs of scripts that are written with them stay: they are no accents.
//!
//! Law: folding twice is folding once.

use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// Canonical combining classes of marks that are part of a letter: nukta, the voicing of kana, virama.
const KEPT_MARKS: [u8; 3] = [7, 8, 9];

/// The versions of the tables that folding follows: what was folded with others must be folded again.
pub(super) const TABLES: [(u8, u8, u8); 2] = [
    unicode_normalization::UNICODE_VERSION,
    char::UNICODE_VERSION,
];

/// The text as it is compared. It has no control characters, and one space where there was any.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let letters = text.nfkd().filter(|c| !is_dropped(*c));
    for c in letters
        .flat_map(char::to_lowercase)
        .filter(|c| !is_dropped(*c))
    {
        if c.is_whitespace() || c.is_control() {
            if !folded.is_empty() && !folded.ends_with(' ') {
                folded.push(' ');
            }
            continue;
        }
        match plain(c) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(digit(c).unwrap_or(c)),
        }
    }
    if folded.ends_with(' ') {
        folded.pop();
    }
    folded
}

/// The words of a folded text.
pub(super) fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded
        .split(|c: char| !c.is_alphanumeric() && canonical_combining_class(c) == 0)
        .filter(|word| !word.is_empty())
}

/// The first `most` bytes of a text, and no half character.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=most.min(text.len())).rev().find(fits);
    &text[..end.unwrap_or_default()]
}

/// Accents, and characters that only say how others are shown.
fn is_dropped(c: char) -> bool {
    let class = canonical_combining_class(c);
    let shows = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}');
    shows || (class != 0 && !KEPT_MARKS.contains(&class))
}

/// A letter that has no decomposition, as it is written without it.
const fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'đ' | 'ð' | 'ɖ' => "d",
        'ß' => "ss",
        'ø' => "o",
        'ł' => "l",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        'ħ' => "h",
        'ı' => "i",
        'ŧ' => "t",
        'ς' => "σ",
        _ => return None,
    })
}

/// Digits of Arabic, Persian and Devanagari as those that telephones have.
fn digit(c: char) -> Option<char> {
    let zero = match c {
        '\u{660}'..='\u{669}' => 0x660,
        '\u{6f0}'..='\u{6f9}' => 0x6f0,
        '\u{966}'..='\u{96f}' => 0x966,
        _ => return None,
    };
    char::from_digit(u32::from(c) - zero, 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_accents_and_composition_do_not_matter() {
        for (text, folded) in [
            ("Nguyễn Văn Đức", "nguyen van duc"),
            ("NGUYÊ\u{303}N", "nguyen"),
            ("  Straße \t 5 ", "strasse 5"),
            ("STRASSE", "strasse"),
            ("Søren Łukasz Æsir", "soren lukasz aesir"),
            ("İstanbul ırmak", "istanbul irmak"),
            ("Ｗｉｄｅ ﬁ", "wide fi"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευσ"),
            ("Οδυσσεύς", "οδυσσευσ"),
            ("٠١٢ ۳", "012 3"),
            ("a\0b\u{7f}c", "a b c"),
            ("co\u{ad}op", "coop"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn letters_of_other_scripts_stay_apart() {
        assert_ne!(fold("कि"), fold("का"));
        assert_ne!(fold("が"), fold("か"));
        assert_eq!(fold("が"), fold("か\u{3099}"));
        let folded = fold("がく हिन्दी");
        assert_eq!(words(&folded).count(), 2, "{folded}");
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in any::<String>()) {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once.clone());
            prop_assert!(!once.chars().any(char::is_control));
        }

        #[test]
        fn composition_does_not_matter(text in any::<String>()) {
            let composed: String = text.nfc().collect();
            let taken_apart: String = text.nfd().collect();
            prop_assert_eq!(fold(&composed), fold(&taken_apart));
        }
    }
}
