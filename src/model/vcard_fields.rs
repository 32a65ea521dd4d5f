//! What single properties of a card say: labels, days, addresses, names and their parts.

use calcard::vcard::VCardProperty;

use super::{
    contact_draft::check_label, contact_kept::KeptProperty, contact_rules::MAX_NAME_CHARS,
    vcard_property::Property,
};

/// Types that say nothing about what a number or an address is for.
const NOT_LABELS: [&str; 7] = [
    "pref", "internet", "voice", "dom", "intl", "postal", "parcel",
];
/// How a line begins that says the address that nobody took apart: other programs read it as one of a street.
pub(super) const WHOLE_ADDRESS: &str = "ADR;X-GRAPEVINE-FIELD=address:";

/// The labels of groups (`item1.X-ABLabel`), by the names of the groups.
pub(super) fn labels(properties: &[Option<Property>]) -> Vec<(String, String)> {
    properties
        .iter()
        .flatten()
        .filter(|property| property.name().as_str().eq_ignore_ascii_case("X-ABLABEL"))
        .filter_map(|property| {
            let text = property.first()?;
            let bare = text
                .strip_prefix("_$!<")
                .and_then(|rest| rest.strip_suffix(">!$_"));
            Some((
                property.group()?.to_owned(),
                bare.unwrap_or(&text).to_owned(),
            ))
        })
        .collect()
}

/// What an element is for, and whether that is all that the parameters say.
pub(super) fn label(property: &Property, labels: &[(String, String)]) -> (Option<String>, bool) {
    let (types, all) = property.types();
    let words: Vec<&str> = types
        .iter()
        .map(String::as_str)
        .filter(|word| !NOT_LABELS.contains(word))
        .collect();
    let text = label_of_types(&types.iter().map(String::as_str).collect::<Vec<_>>());
    let own = property.group().and_then(|group| {
        let mut labels = labels.iter();
        labels.find(|(name, _)| name.eq_ignore_ascii_case(group))
    });
    let text = own.map_or(text, |(_, label)| label.clone());
    let label = Some(text).filter(|text| !text.is_empty() && check_label(text).is_ok());
    let whole = all && words.len() == types.len() && label.is_some() != words.is_empty();
    (label, whole)
}

/// The label that follows from types.
pub(super) fn label_of_types(types: &[&str]) -> String {
    let words = types.iter().filter(|word| !NOT_LABELS.contains(word));
    words.copied().collect::<Vec<_>>().join(" ")
}

/// The day that a line tells in the form of another version than its own.
pub(super) fn day_of(line: &str) -> Option<String> {
    let (_, value) = line.rsplit_once(':')?;
    let text = value.trim();
    let is_basic = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    Some(match text.strip_prefix("--") {
        Some(rest) if rest.len() == 4 && is_basic(rest) => {
            format!("--{}-{}", &rest[..2], &rest[2..])
        }
        None if text.len() == 8 && is_basic(text) => {
            format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..])
        }
        Some(_) | None => text.to_owned(),
    })
}

/// A day in the form that vCard 4.0 writes.
pub(super) fn basic_day(day: &str) -> String {
    match day.strip_prefix("--") {
        Some(rest) => format!("--{}", rest.replace('-', "")),
        None => day.replace('-', ""),
    }
}

/// Whether a line says the address that nobody took apart.
pub(super) fn is_whole_address(line: &str) -> bool {
    let start = line.get(..WHOLE_ADDRESS.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(WHOLE_ADDRESS))
}

/// What was once taken of an address, as one text.
pub(super) fn address_text(kept: &KeptProperty) -> Option<String> {
    let property = Property::read(&kept.line, &kept.version)?;

    let parts = property.components();
    let parts = parts
        .iter()
        .map(|part| part.trim_end_matches([',', ' ']))
        .filter(|part| !part.is_empty());
    Some(parts.collect::<Vec<_>>().join(", "))
}

/// The parts of a structured property; `None` if there are more, or if one does not pass `check`, which gets its place
/// too.
pub(super) fn fit_parts<const PARTS: usize>(
    property: &Property,
    check: impl Fn(usize, &str) -> Result<(), String>,
) -> Option<[Option<String>; PARTS]> {
    let mut parts = [const { None }; PARTS];
    for (place, text) in property.parts().into_iter().enumerate() {
        if text.is_empty() {
            continue;
        }
        check(place, &text).ok()?;
        *parts.get_mut(place)? = Some(text);
    }
    Some(parts)
}

/// A name for a card without FN: from N, or else from whatever identifies it.
pub(super) fn made_up_name(properties: &[Option<Property>]) -> Option<String> {
    let find = |name: &VCardProperty| {
        let mut properties = properties.iter().flatten();
        properties.find(|property| property.name() == name && property.first().is_some())
    };
    let structured = properties
        .iter()
        .flatten()
        .find(|property| *property.name() == VCardProperty::N)
        .map(full_name);
    [
        structured,
        find(&VCardProperty::Org).and_then(Property::first),
        find(&VCardProperty::Nickname).and_then(Property::first),
        find(&VCardProperty::Email).and_then(Property::first),
        find(&VCardProperty::Tel).and_then(Property::first),
    ]
    .into_iter()
    .flatten()
    .find_map(|text| fit_name(&text))
}

/// Family, given, additional, prefixes, suffixes (RFC 6350, section 6.2.2) in the order in which they are said.
fn full_name(property: &Property) -> String {
    let parts = property.components();
    let part = |place: usize| parts.get(place).map(String::as_str).unwrap_or_default();
    let said = [part(3), part(1), part(2), part(0), part(4)];
    let said = said.into_iter().filter(|part| !part.is_empty());
    said.collect::<Vec<_>>().join(" ")
}

/// `text` as a name within the bounds; `None` if nothing is left.
pub(super) fn fit_name(text: &str) -> Option<String> {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let name: String = clean.take(MAX_NAME_CHARS).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
