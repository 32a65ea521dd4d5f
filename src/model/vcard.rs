//! A vCard (2.1, 3.0 or 4.0) as a contact: what of it becomes a field, and what is kept as it was.
//!
//! Law: every line of a card is taken, or kept, or told as rejected. A line that is taken is kept too unless
//! the field says everything that the line said, so that an export loses nothing.

use std::io::{self, BufRead};

use calcard::vcard::VCardProperty;
use uuid::Uuid;

use super::{
    address_parts::AddressParts,
    contact_draft::{ContactDraft, check_content, check_group, check_scalar},
    contact_element::{ElementDraft, Kind},
    contact_kept::{KeptProperty, MAX_KEPT_BYTES, MAX_KEPT_PROPERTIES, MAX_KEPT_PROPERTY_BYTES},
    contact_rules::{MAX_ELEMENTS, contact_key},
    name_parts::NameParts,
    vcard_fields::{
        basic_day, day_of, fit_name, fit_parts, is_whole_address, label, labels, made_up_name,
    },
    vcard_lines::{Line, RawCard, RawCards, UnreadableFile},
    vcard_property::Property,
    vcard_text::structured,
};

/// The property that says the id of a contact which no `UID` leads to.
pub(super) const OWN_ID: &str = "X-GRAPEVINE-ID";
/// How much of a line that is no property is shown in its place.
const SHOWN_CHARS: usize = 32;

/// The cards of a file.
#[derive(Clone, Debug)]
pub struct CardFile {
    /// Each, or why it cannot be taken.
    pub cards: Vec<Result<Card, RejectedCard>>,
    /// How many lines belong to no card.
    pub stray_lines: usize,
}

/// A card that can be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The id of its contact: its UID if that is a UUID, else derived from its UID, else from its text. So the
    /// same card has the same id on every node.
    pub id: String,
    /// A hash of its text.
    pub hash: [u8; 32],
    /// What becomes fields.
    pub draft: ContactDraft,
    /// What is kept.
    pub kept: Vec<KeptProperty>,
    /// Whether it takes the place of what a card before had left to be kept.
    pub replaces_kept: bool,
    /// The names of the properties that became fields, one for each line.
    pub taken_names: Vec<String>,
    /// What was neither taken nor kept.
    pub rejected: Vec<RejectedProperty>,
}

/// A card that cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedCard {
    /// Why.
    pub problem: String,
    /// The lines that could not be read, each with its reason.
    pub rejected: Vec<RejectedProperty>,
}

/// A line of a card that is neither taken nor kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct RejectedProperty {
    /// Its name, or how it starts.
    pub property: String,
    /// Why.
    pub problem: String,
}

impl CardFile {
    /// Reads at most `max_cards` cards from `bytes`; `charset` is what was declared for the whole file.
    pub fn read(
        bytes: &[u8],
        charset: Option<&str>,
        max_cards: usize,
    ) -> Result<Self, UnreadableFile> {
        let mut reader = CardReader::new(bytes, charset)?;
        let mut cards = Vec::new();
        while let Ok(Some(card)) = reader.next() {
            if cards.len() == max_cards {
                return Err(UnreadableFile::TooManyCards(max_cards));
            }
            cards.push(card);
        }
        if cards.is_empty() {
            return Err(UnreadableFile::NoCard);
        }
        Ok(Self {
            cards,
            stray_lines: reader.stray_lines(),
        })
    }
}

/// The cards of a file of any length, one after another.
pub struct CardReader<'a>(RawCards<'a>);

impl<'a> CardReader<'a> {
    /// Reads from `reader`; `charset` is what was declared for the whole file.
    pub fn new(
        reader: impl BufRead + Send + 'a,
        charset: Option<&str>,
    ) -> Result<Self, UnreadableFile> {
        RawCards::new(reader, charset).map(Self)
    }

    /// The next card, or why it cannot be taken; `None` at the end. An error is one of the reader.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator goes on after an error, and a reader does not"
    )]
    pub fn next(&mut self) -> io::Result<Option<Result<Card, RejectedCard>>> {
        Ok(self.0.next()?.map(Card::read))
    }

    /// How many lines so far belong to no card.
    #[must_use]
    pub const fn stray_lines(&self) -> usize {
        self.0.stray_lines()
    }
}

impl Card {
    fn read(raw: RawCard) -> Result<Self, RejectedCard> {
        if let Some(problem) = raw.problem {
            return Err(RejectedCard {
                problem,
                rejected: Vec::new(),
            });
        }
        let version = version(&raw.lines);
        let properties: Vec<Option<Property>> = raw
            .lines
            .iter()
            .map(|line| Property::read(&line.text, &version).filter(|_| line.problem.is_none()))
            .collect();
        let hash = hash(&raw.lines);
        let labels = labels(&properties);
        let mut reading = Reading::new(version, labels);
        for (index, (line, property)) in raw.lines.iter().zip(&properties).enumerate() {
            reading.take(index, line, property.as_ref());
        }
        if reading.draft.name.is_empty() {
            let Some(name) = made_up_name(&properties) else {
                return Err(RejectedCard {
                    problem: "it has no readable FN, N, ORG, NICKNAME, EMAIL or TEL to name it by"
                        .to_owned(),
                    rejected: reading.rejected,
                });
            };
            reading.draft.name = name;
        }
        Ok(Self {
            id: reading
                .own_id
                .unwrap_or_else(|| id(reading.uid.as_deref(), &hash)),
            hash,
            draft: reading.draft,
            kept: reading.kept,
            replaces_kept: true,
            taken_names: reading.taken_names,
            rejected: reading.rejected,
        })
    }

    /// The names of the properties kept, one for each line.
    #[must_use]
    pub fn kept_names(&self) -> Vec<&str> {
        let names = self.kept.iter().map(|kept| kept.property.as_str());
        names.collect()
    }
}

/// What a property became.
struct Taken {
    field: &'static str,
    /// The field says everything that the line said.
    whole: bool,
}

struct Reading {
    version: String,
    /// The labels of groups (`item1.X-ABLabel`), an Apple extension.
    labels: Vec<(String, String)>,
    uid: Option<String>,
    /// The id that a node gave its own export.
    own_id: Option<String>,
    draft: ContactDraft,
    kept: Vec<KeptProperty>,
    kept_bytes: usize,
    taken_names: Vec<String>,
    rejected: Vec<RejectedProperty>,
}

impl Reading {
    fn new(version: String, labels: Vec<(String, String)>) -> Self {
        Self {
            version,
            labels,
            uid: None,
            own_id: None,
            draft: ContactDraft::default(),
            kept: Vec::new(),
            kept_bytes: 0,
            taken_names: Vec::new(),
            rejected: Vec::new(),
        }
    }

    fn take(&mut self, index: usize, line: &Line, property: Option<&Property>) {
        let Some(property) = property else {
            let problem = line.problem.clone();
            self.rejected.push(RejectedProperty {
                property: line.text.chars().take(SHOWN_CHARS).collect(),
                problem: problem.unwrap_or_else(|| "it is not a property: no colon".to_owned()),
            });
            return;
        };
        let name = property.name().as_str().to_ascii_uppercase();
        if *property.name() == VCardProperty::Version {
            return; // kept with every line that is kept
        }
        let taken = self.map(&line.text, property);
        if taken.is_some() {
            self.taken_names.push(name.clone());
        }
        if taken.as_ref().is_none_or(|taken| !taken.whole) {
            self.keep(index, name, line, taken.map(|taken| taken.field));
        }
    }

    /// Makes a field of the property, if there is one for it that is free.
    fn map(&mut self, line: &str, property: &Property) -> Option<Taken> {
        match property.name() {
            VCardProperty::Fn if self.draft.name.is_empty() => self.name(line, property),
            // What vCard 3.0 demands of a name without parts.
            VCardProperty::N if property.plain && property.is_empty() => Some(Taken {
                field: "name",
                whole: true,
            }),
            VCardProperty::N if self.draft.name_parts.is_none() => self.name_parts(property),
            VCardProperty::Title => self.scalar("title", line, property),
            VCardProperty::Note => self.scalar("note", line, property),
            VCardProperty::Org => {
                let single = property.components().len() == 1;
                let taken = self.scalar("organization", line, property)?;
                Some(Taken {
                    whole: taken.whole && single,
                    ..taken
                })
            }
            VCardProperty::Bday => self.birthday(line, property),
            VCardProperty::Adr if is_whole_address(line) => self.whole_address(property),
            VCardProperty::Adr => self.address(property),
            VCardProperty::Tel => self.element(Kind::Phone, "tel:", line, property),
            VCardProperty::Email => self.element(Kind::Email, "mailto:", line, property),
            // What is data is no text.
            VCardProperty::Url if property.is_binary() => None,
            VCardProperty::Url => self.element(Kind::Url, "", line, property),
            VCardProperty::Categories => self.groups(line, property),
            VCardProperty::Uid if self.uid.is_none() => {
                let uid = property.first()?;
                let canonical = parse_uuid(&uid).is_some_and(|id| id == uid);
                self.uid = Some(uid.clone());
                parse_uuid(&uid).map(|_| Taken {
                    field: "id",
                    whole: canonical && property.plain,
                })
            }
            VCardProperty::Other(name) if name.eq_ignore_ascii_case(OWN_ID) => {
                let id = property.first()?;
                let whole = property.plain && contact_key(&id).is_ok_and(|key| key == id);
                self.own_id = whole.then_some(id);
                whole.then_some(Taken { field: "id", whole })
            }
            _ => None,
        }
    }

    fn name(&mut self, line: &str, property: &Property) -> Option<Taken> {
        let text = property.first()?;
        self.draft.name = fit_name(&text)?;
        Some(Taken {
            field: "name",
            whole: self.draft.name == text && self.says_all(line, property),
        })
    }

    fn name_parts(&mut self, property: &Property) -> Option<Taken> {
        let parts = fit_parts(property, |_, text| NameParts::check(text))?;
        let parts = NameParts::of(parts)?;
        let whole = property.plain && self.says_parts(property, &parts.parts());
        self.draft.name_parts = Some(parts);
        Some(Taken {
            field: NameParts::FIELD,
            whole,
        })
    }

    /// Whether the value of a line with these parts would be written as that of the property is.
    fn says_parts(&self, property: &Property, parts: &[Option<&str>]) -> bool {
        let written = structured(parts);
        let said = property.value().trim_end_matches(';');
        let escapes = self.version == "2.1" && said.contains('\\');
        !escapes && said == written.trim_end_matches(';')
    }

    fn scalar(&mut self, field: &'static str, line: &str, property: &Property) -> Option<Taken> {
        let text = property.first()?;
        if self.draft.scalar(field).is_some() || check_scalar(field, &text).is_err() {
            return None;
        }
        self.draft.set_scalar(field, Some(text));
        Some(Taken {
            field,
            whole: self.says_all(line, property),
        })
    }

    fn birthday(&mut self, line: &str, property: &Property) -> Option<Taken> {
        let day = property.day().or_else(|| day_of(line))?;
        if self.draft.birthday.is_some() || check_scalar("birthday", &day).is_err() {
            return None;
        }
        let basic = basic_day(&day);
        let said = |day: &str| line.ends_with(&format!(":{day}"));
        let whole = property.plain && (said(&day) || said(&basic));
        self.draft.birthday = Some(day);
        Some(Taken {
            field: "birthday",
            whole,
        })
    }

    /// The address that nobody took apart, as an export wrote it.
    fn whole_address(&mut self, property: &Property) -> Option<Taken> {
        let parts = fit_parts::<{ AddressParts::COUNT }>(property, |place, text| {
            let is_street = place == AddressParts::STREET;
            is_street.then_some(()).ok_or_else(String::new)?;
            check_scalar("address", text)
        })?;
        let [_, _, street, ..] = parts;
        if self.draft.address.is_some() || street.is_none() {
            return None;
        }
        let whole = self.says_parts(property, &[None, None, street.as_deref()]);
        self.draft.address = street;
        Some(Taken {
            field: "address",
            whole,
        })
    }

    fn address(&mut self, property: &Property) -> Option<Taken> {
        let parts = fit_parts(property, |_, text| AddressParts::check(text))?;
        let parts = AddressParts::of(parts)?;
        if self.draft.addresses.len() == MAX_ELEMENTS {
            return None;
        }
        let (label, says_all) = label(property, &self.labels);
        self.draft.addresses.push(ElementDraft {
            id: None,
            label,
            content: parts.content(),
            e164: None,
        });
        Some(Taken {
            field: Kind::Address.list(),
            whole: says_all && self.says_parts(property, &parts.parts()),
        })
    }

    fn element(
        &mut self,
        kind: Kind,
        scheme: &str,
        line: &str,
        property: &Property,
    ) -> Option<Taken> {
        let text = property.first()?;
        let bare = match text.get(..scheme.len()) {
            Some(start) if start.eq_ignore_ascii_case(scheme) => &text[scheme.len()..],
            Some(_) | None => text.as_str(),
        };
        let elements = self.draft.elements_mut(kind);
        if elements.len() == MAX_ELEMENTS || check_content(kind, bare).is_err() {
            return None;
        }
        let (label, says_all) = label(property, &self.labels);
        elements.push(ElementDraft {
            label,
            content: bare.to_owned(),
            ..ElementDraft::default()
        });
        let escapes = self.version == "2.1" && line.contains('\\');
        Some(Taken {
            field: kind.list(),
            whole: says_all && bare == text && !escapes,
        })
    }

    fn groups(&mut self, line: &str, property: &Property) -> Option<Taken> {
        let names = property.components();
        let fit = names.iter().all(|name| check_group(name).is_ok());
        let groups = &self.draft.groups;
        let new = names.iter().filter(|name| !groups.contains(*name)).count();
        if names.is_empty() || !fit || groups.len() + new > MAX_ELEMENTS {
            return None;
        }
        self.draft.groups.extend(names);
        Some(Taken {
            field: "groups",
            whole: self.says_all(line, property),
        })
    }

    /// Whether the text of the property is all there is to it.
    fn says_all(&self, line: &str, property: &Property) -> bool {
        // In vCard 2.1 a backslash is a backslash, which calcard does not know.
        property.plain && !(self.version == "2.1" && line.contains('\\'))
    }

    fn keep(&mut self, index: usize, property: String, line: &Line, field: Option<&str>) {
        let bytes = line.text.len();
        let problem = if bytes > MAX_KEPT_PROPERTY_BYTES {
            Some(format!(
                "it has {bytes} bytes, more than the {MAX_KEPT_PROPERTY_BYTES} that are kept"
            ))
        } else if self.kept_bytes + bytes > MAX_KEPT_BYTES {
            Some(format!(
                "of one card at most {MAX_KEPT_BYTES} bytes are kept"
            ))
        } else if self.kept.len() == MAX_KEPT_PROPERTIES {
            Some(format!(
                "of one card at most {MAX_KEPT_PROPERTIES} properties are kept"
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.rejected.push(RejectedProperty { property, problem });
            return;
        }
        self.kept_bytes += bytes;
        self.kept.push(KeptProperty {
            order: u32::try_from(index).unwrap_or(u32::MAX),
            property,
            version: self.version.clone(),
            line: line.text.clone(),
            field: field.map(str::to_owned),
        });
    }
}

fn version(lines: &[Line]) -> String {
    lines
        .iter()
        .filter_map(|line| line.text.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("VERSION"))
        .map(|(_, version)| version.trim())
        .filter(|version| ["2.1", "3.0", "4.0"].contains(version))
        .unwrap_or("3.0")
        .to_owned()
}

fn hash(lines: &[Line]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("grapevine 2025 vcard text");
    for line in lines {
        hasher.update(line.text.as_bytes());
        hasher.update(b"\n");
    }
    *hasher.finalize().as_bytes()
}

/// What the line `kept` says of the fields of a contact; `labels` are those of its card.
pub(super) fn reread(kept: &KeptProperty, labels: &[(String, String)]) -> Option<ContactDraft> {
    let property = Property::read(&kept.line, &kept.version)?;
    let mut reading = Reading::new(kept.version.clone(), labels.to_vec());
    reading.map(&kept.line, &property)?;
    Some(reading.draft)
}

/// The labels of the groups of a card of which `kept` is left.
pub(super) fn kept_labels(kept: &[KeptProperty]) -> Vec<(String, String)> {
    let read = |kept: &KeptProperty| Property::read(&kept.line, &kept.version);
    labels(&kept.iter().map(read).collect::<Vec<_>>())
}

/// The `UID` that is the line `kept`, and the id of the contact of a card that has it.
pub(super) fn uid_and_id(kept: &KeptProperty) -> Option<(String, String)> {
    let uid = Property::read(&kept.line, &kept.version)?.first()?;
    let id = id(Some(&uid), &[0; 32]);
    Some((uid, id))
}

/// The id of a contact that is called `name` elsewhere, if it is called anything, and else of what `hash` is of: itself
/// if it can be one.
pub(super) fn id_of_name(name: Option<&str>, hash: &[u8; 32]) -> String {
    let own = name.and_then(|name| contact_key(name).ok());
    own.unwrap_or_else(|| id(name, hash))
}

fn id(uid: Option<&str>, hash: &[u8; 32]) -> String {
    let derived = |hash: &[u8; 32]| {
        let (bytes, _) = hash.split_first_chunk::<16>().expect("a hash has 32 bytes");
        Uuid::new_v8(*bytes).hyphenated().to_string()
    };
    match uid {
        Some(uid) => parse_uuid(uid).unwrap_or_else(|| {
            derived(&blake3::derive_key(
                "grapevine 2025 vcard uid",
                uid.as_bytes(),
            ))
        }),
        None => derived(hash),
    }
}

fn parse_uuid(uid: &str) -> Option<String> {
    let parsed = Uuid::try_parse(uid).ok()?;
    Some(parsed.hyphenated().to_string())
}

#[cfg(test)]
mod tests;
