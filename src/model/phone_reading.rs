//! What a telephone number reads as everywhere: its form after ITU-T E.164, such as `+33123456789`.
//!
//! Whether digits are a number, and which of them are dialled at home only, differs from country to country and changes
//! over time. So a number is read once, where it is written, and the reading is kept beside it: nodes of another region,
//! or of another version of the tables, show what was read and never read again.
//!
//! The tables are those of Google's libphonenumber. Only digits and a plus sign are handed to them; what is around these
//! is looked at here, so that nothing that somebody typed reaches more of that library than is needed.

use core::fmt;

use phonenumber::{
    Type, country,
    metadata::{DATABASE, Metadata},
};

use super::fold::fold;

/// An international number has at most so many digits (E.164, section 6.1).
const MAX_DIGITS: usize = 15;
/// What is dialled in front of the digits of an international number, at most, and the zero at home.
const MAX_DIALLED: usize = 8;
/// The code of a country has at most so many.
const MAX_CODE_DIGITS: usize = 3;
/// Numbers that are dialled from elsewhere.
const KINDS: [Type; 10] = [
    Type::FixedLine,
    Type::Mobile,
    Type::TollFree,
    Type::PremiumRate,
    Type::SharedCost,
    Type::PersonalNumber,
    Type::Voip,
    Type::Pager,
    Type::Uan,
    Type::Voicemail,
];
/// Longer extensions are none.
const MAX_EXTENSION_DIGITS: usize = 7;
/// What stands in front of an extension, folded; longer ones first.
const EXTENSION_MARKS: [&str; 7] = ["extension", ";ext=", "extn", "ext", "poste", "x", "#"];

/// A country or a territory with telephone numbers of its own, by its code after ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region(country::Id);

impl Region {
    /// The region with this code of two letters, upper or lower case; `None` if there is none.
    #[must_use]
    pub fn named(code: &str) -> Option<Self> {
        let id = code.to_ascii_uppercase().parse().ok()?;
        Self::metadata_of(id).map(|_| Self(id))
    }

    /// Its code, in upper case.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.as_ref()
    }

    fn metadata_of(id: country::Id) -> Option<&'static Metadata> {
        DATABASE.by_id(id.as_ref())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The number as it is dialled from anywhere, a plus sign and up to 15 digits, without its extension. Without a region
/// only what begins with a plus sign is read. `None` if it is no number that is in use.
#[must_use]
pub(super) fn e164(number: &str, region: Option<Region>) -> Option<String> {
    let Typed { plus, digits } = Typed::read(number)?;
    if plus {
        return international(&digits);
    }
    let region = region?;
    let metadata = Region::metadata_of(region.0)?;
    let abroad = metadata.international_prefix();
    let dialled = abroad.and_then(|prefix| prefix.find(&digits).filter(|found| found.start() == 0));
    if let Some(rest) = dialled.map(|found| &digits[found.end()..])
        && !rest.starts_with('0')
        && let Some(read) = international(rest)
    {
        return Some(read);
    }
    let rest = metadata
        .national_prefix()
        .and_then(|prefix| digits.strip_prefix(prefix));
    let code = metadata.country_code();
    rest.and_then(|rest| in_use(&format!("{code}{rest}")))
        .or_else(|| parsed(Some(region.0), &digits))
}

/// Reads the digits behind a plus sign. Not by a region: the library would take off what is dialled in that one.
fn international(digits: &str) -> Option<String> {
    in_use(digits).or_else(|| parsed(None, &format!("+{digits}")))
}

/// What the library makes of digits, if such a number is in use: without what is dialled in a country alone. It takes
/// too much off where the number itself begins with what is dialled first, so it comes after what is told by the digits
/// as they are.
fn parsed(region: Option<country::Id>, text: &str) -> Option<String> {
    let number = phonenumber::parse(region, text).ok()?;
    in_use(&format!("{}{}", number.code().value(), number.national()))
}

/// Digits behind a plus sign, if the tables know numbers like them.
fn in_use(digits: &str) -> Option<String> {
    let plain = digits.len() <= MAX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let known = (1..=MAX_CODE_DIGITS).any(|length| {
        let Some((code, national)) = digits.split_at_checked(length) else {
            return false;
        };
        let code = code.parse::<u16>().ok();
        let regions = code
            .filter(|code| *code > 0)
            .and_then(|code| DATABASE.by_code(&code));
        let mut kinds = regions.iter().flatten().flat_map(|region| {
            let known = region.descriptors().general().is_match(national);
            let kinds = KINDS.iter().filter(move |_| known);
            kinds.filter_map(|kind| region.descriptors().get(*kind))
        });
        kinds.any(|numbers| numbers.is_match(national))
    });
    (plain && known).then(|| format!("+{digits}"))
}

/// The number that was typed, without its extension.
struct Typed {
    plus: bool,
    digits: String,
}

impl Typed {
    /// `None` if there is anything in it that no number has.
    fn read(number: &str) -> Option<Self> {
        let text: String = fold(number).chars().filter(|c| !is_invisible(*c)).collect();
        let text = text.trim();
        let text = text.strip_prefix("tel:").unwrap_or(text).trim_start();
        let (mut text, mut plus) = (without_extension(text).to_owned(), false);
        if let Some(rest) = text.strip_prefix('+') {
            // `+44 (0)20`: the zero is dialled at home only.
            text = rest.replacen("(0)", " ", 1);
            plus = true;
        }
        let mut digits = String::new();
        for c in text.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
            } else if !is_separator(c) {
                return None;
            }
        }
        let fits = (1..=MAX_DIGITS + MAX_DIALLED).contains(&digits.len());
        fits.then_some(Self { plus, digits })
    }
}

/// What stands between the digits of a number.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || "-./()[]~\u{2212}".contains(c) || ('\u{2010}'..='\u{2015}').contains(&c)
}

/// What is not seen: marks of direction, as address books copy them along, and places to break.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// `text` up to its extension; all of it if it ends with none.
fn without_extension(text: &str) -> &str {
    let front = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - front.len();
    if !(1..=MAX_EXTENSION_DIGITS).contains(&digits) {
        return text;
    }
    let front = front.trim_end_matches(|c: char| c.is_whitespace() || ".:".contains(c));
    EXTENSION_MARKS
        .iter()
        .find_map(|mark| front.strip_suffix(mark))
        .map_or(text, |number| {
            number.trim_end_matches(|c: char| c.is_whitespace() || ",;".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(number: &str, region: &str) -> Option<String> {
        let region = (!region.is_empty()).then(|| Region::named(region).expect("a region"));
        e164(number, region)
    }

    #[test]
    fn a_number_is_read_as_it_is_dialled_from_anywhere() {
        for (number, region, expected) in [
            ("+33 1 23 45 67 89", "", "+33123456789"),
            ("+33 (0)1 23 45 67 89", "", "+33123456789"),
            ("01 23 45 67 89", "FR", "+33123456789"),
            ("01.23.45.67.89", "FR", "+33123456789"),
            ("0033 1 23 45 67 89", "FR", "+33123456789"),
            ("0033123456789", "DE", "+33123456789"),
            ("011 33 1 23 45 67 89", "US", "+33123456789"),
            ("020 7946 0000", "GB", "+442079460000"),
            ("+44 20 7946 0000", "FR", "+442079460000"),
            ("+44 020 7946 0000", "", "+442079460000"),
            ("tel:+44-20-7946-0000", "", "+442079460000"),
            (
                "\u{202a}+44\u{a0}20\u{a0}7946\u{2011}0000\u{202c}",
                "",
                "+442079460000",
            ),
            ("＋４４ ２０ ７９４６ ００００", "", "+442079460000"),
            ("(212) 555-0100", "US", "+12125550100"),
            ("1-212-555-0100", "US", "+12125550100"),
            ("+1 (212) 555-0100 x102", "GB", "+12125550100"),
            ("+1 212 555 0100;ext=102", "", "+12125550100"),
            ("01 23 45 67 89 poste 12", "FR", "+33123456789"),
            ("020 7946 0000, ext. 9", "GB", "+442079460000"),
            // The zero is a part of the number.
            ("06 6982", "IT", "+39066982"),
            ("+39 06 6982", "FR", "+39066982"),
            ("030 123456", "DE", "+4930123456"),
            // What is dialled first at home is also what follows.
            ("8 (812) 345-67-89", "RU", "+78123456789"),
            ("8 812 345 67 89", "RU", "+78123456789"),
            // What the region dials first is no part of a number from elsewhere.
            ("+49 89 123456789", "RU", "+4989123456789"),
            ("810 49 89 123456789", "RU", "+4989123456789"),
            ("+7 812 345-67-89", "RU", "+78123456789"),
            ("03-1234-5678", "JP", "+81312345678"),
            ("(02) 9374 4000", "AU", "+61293744000"),
            ("0011 44 20 7946 0000", "AU", "+442079460000"),
            ("(11) 2345-6789", "BR", "+551123456789"),
            ("09 123 4567", "FI", "+35891234567"),
            ("612 345 678", "es", "+34612345678"),
            ("+800 1234 5678", "", "+80012345678"),
        ] {
            assert_eq!(
                read(number, region).as_deref(),
                Some(expected),
                "{number} in {region}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_not_made_one() {
        for (number, region) in [
            ("01 23 45 67 89", ""),
            ("0033 1 23 45 67 89", ""),
            ("", "FR"),
            ("+", "FR"),
            ("++33 1 23 45 67 89", "FR"),
            ("12", "FR"),
            ("01 23 45", "FR"),
            ("01 23 45 67 89 01", "FR"),
            ("+33 1 23", "FR"),
            ("+999 123 456 789", "FR"),
            ("112", "FR"),
            ("ask Bob", "FR"),
            ("1-800-FLOWERS", "US"),
            ("01 23 45 67 89 or 98", "FR"),
            ("01 23 45 67 89 / 01 23 45 67 90", "FR"),
            ("+33 1 23 45 67 89 x", "FR"),
            ("000000000000", "FR"),
            ("٠١٢٣", "FR"),
            ("02 555 0100 0000", "US"),
        ] {
            assert_eq!(read(number, region), None, "{number} in {region}");
        }
        assert_eq!(read(&"1".repeat(1_000), "FR"), None);
    }

    #[test]
    fn a_region_is_one_that_has_numbers() {
        assert_eq!(
            Region::named("fr").map(|r| r.to_string()).as_deref(),
            Some("FR")
        );
        for none in ["", "F", "FRA", "ZZ", "XX", "UM", "33", "é"] {
            assert_eq!(Region::named(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_typed_ends_the_node(
            number in "[+0-9(). xX#;a-z\\-＋０-９٠-٩]{0,40}|\\PC{0,40}",
            region in proptest::sample::select(vec!["", "FR", "US", "RU", "IT", "AR", "BR", "CN", "HU", "MX"]),
        ) {
            if let Some(read) = read(&number, region) {
                proptest::prop_assert_eq!(self::read(&read, ""), Some(read.clone()), "of {}", number);
            }
        }
    }
}
