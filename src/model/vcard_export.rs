//! A contact as a vCard (3.0 or 4.0).
//!
//! Law: an export loses nothing that an import took or kept: imported anew it makes the same contact. A kept line
//! from which a field was taken is written while the field still says what the line does; else the field is.
//! Elements are written in the order in which the contact shows them.

use std::collections::BTreeSet;

use grapevine_crdt::Entity;

use super::{
    address_parts::AddressParts,
    contact::{Contact, SCALARS},
    contact_draft::ContactDraft,
    contact_element::{ElementDraft, Kind},
    contact_kept::KeptProperty,
    name_parts::NameParts,
    vcard::{OWN_ID, kept_labels, reread, uid_and_id},
    vcard_convert::{data, line_in},
    vcard_fields::{WHOLE_ADDRESS, address_text, basic_day, label_of_types},
    vcard_text::{escaped, push_line, structured},
    vcard_version::CardVersion,
};

/// The contact `id` that `entity` shows as a card of `version`; `None` if it is hidden.
#[must_use]
pub fn export_card(id: &str, entity: &Entity, version: CardVersion) -> Option<String> {
    let contact = Contact::read(id, entity)?;
    let kept: Vec<KeptProperty> = KeptProperty::shown(entity)
        .into_iter()
        .map(|(_, kept)| kept)
        .collect();
    let mut export = Export::new(&contact, &kept, version);
    export.begin();
    for (index, kept) in kept.iter().enumerate() {
        export.kept(index, kept);
    }
    export.line("END:VCARD");
    Some(export.text)
}

/// What a kept line is to the contact as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// What no field says.
    Own,
    /// What a scalar or the groups say.
    Field,
    /// What this element says.
    Element(Kind, usize),
    /// What no field says any more.
    Nothing,
}

struct List {
    kind: Kind,
    items: Vec<ElementDraft>,
    /// The kept line of each, if it has one.
    lines: Vec<Option<usize>>,
    /// How many are written.
    written: usize,
}

struct Export<'a> {
    contact: &'a Contact,
    kept: &'a [KeptProperty],
    version: CardVersion,
    says: Vec<Says>,
    lists: Vec<List>,
    /// Scalars, and the parts of the name, that a kept line says.
    said: BTreeSet<&'static str>,
    /// Groups that a kept line says.
    said_groups: BTreeSet<String>,
    /// The groups of lines that are taken, such as `item1`.
    line_groups: BTreeSet<String>,
    text: String,
}

impl<'a> Export<'a> {
    fn new(contact: &'a Contact, kept: &'a [KeptProperty], version: CardVersion) -> Self {
        let mut export = Self {
            contact,
            kept,
            version,
            says: Vec::with_capacity(kept.len()),
            lists: Kind::ALL.map(|kind| List::of(contact, kind)).into(),
            said: BTreeSet::new(),
            said_groups: BTreeSet::new(),
            line_groups: kept.iter().filter_map(line_group).collect(),
            text: String::new(),
        };
        let labels = kept_labels(kept);
        for (index, line) in kept.iter().enumerate() {
            let says = export.says(index, line, &labels);
            export.says.push(says);
        }
        export
    }

    fn says(&mut self, index: usize, kept: &KeptProperty, labels: &[(String, String)]) -> Says {
        let Some(field) = &kept.field else {
            return Says::Own;
        };
        if field == "id" {
            return Says::Own;
        }
        let Some(draft) = reread(kept, labels) else {
            return Says::Nothing;
        };
        if let Some(scalar) = SCALARS.into_iter().find(|scalar| scalar == field) {
            let current = scalar_of(self.contact, scalar);
            // Of an address one text was taken once, and not its parts.
            let whole = (scalar == "address").then(|| address_text(kept)).flatten();
            let says = [draft.scalar(scalar), whole.as_deref()].contains(&current);
            let is_said = current.is_some() && says && self.said.insert(scalar);
            return if is_said { Says::Field } else { Says::Nothing };
        }
        if field == NameParts::FIELD {
            let is_said =
                draft.name_parts == self.contact.name_parts && self.said.insert(NameParts::FIELD);
            return if is_said { Says::Field } else { Says::Nothing };
        }
        if field == "groups" {
            return self.says_groups(draft);
        }
        for list in &mut self.lists {
            if list.kind.list() == field
                && let Some(place) = list.find(&draft)
            {
                list.lines[place] = Some(index);
                return Says::Element(list.kind, place);
            }
        }
        Says::Nothing
    }

    fn says_groups(&mut self, draft: ContactDraft) -> Says {
        let current = &self.contact.groups;
        if !draft.groups.iter().all(|group| current.contains(group)) {
            return Says::Nothing;
        }
        self.said_groups.extend(draft.groups);
        Says::Field
    }

    /// What stands before all that is kept: what only fields say.
    fn begin(&mut self) {
        self.line("BEGIN:VCARD");
        self.line(&format!("VERSION:{}", self.version.name()));
        self.identity();
        let contact = self.contact;
        for field in SCALARS {
            if !self.said.contains(field)
                && let Some(text) = scalar_of(contact, field)
            {
                self.scalar(field, text);
            }
        }
        self.name_parts();
        let groups: Vec<String> = contact
            .groups
            .iter()
            .filter(|group| !self.said_groups.contains(*group))
            .map(|group| escaped(group))
            .collect();
        if !groups.is_empty() {
            self.line(&format!("CATEGORIES:{}", groups.join(",")));
        }
        for list in 0..self.lists.len() {
            if self.lists[list].lines.iter().all(Option::is_none) {
                self.elements(list, usize::MAX);
            }
        }
    }

    fn name_parts(&mut self) {
        if self.said.contains(NameParts::FIELD) {
            return;
        }
        if let Some(parts) = &self.contact.name_parts {
            return self.line(&format!("N:{}", structured(&parts.parts())));
        }
        let mut lines = self.kept.iter().zip(&self.says);
        let is_kept = lines.any(|(kept, says)| kept.property == "N" && *says != Says::Nothing);
        if self.version == CardVersion::V3 && !is_kept {
            // RFC 2426 demands it.
            self.line("N:;;;;");
        }
    }

    /// By what the contact is found again.
    fn identity(&mut self) {
        let id = &self.contact.id;
        let first = self.kept.iter().find(|kept| kept.property == "UID");
        let (uid, found) = first.and_then(uid_and_id).unwrap_or_default();
        if found == *id {
            return;
        }
        if uid != *id {
            self.line(&format!("UID:{}", escaped(id)));
        }
        if uuid::Uuid::try_parse(id).is_err() {
            self.line(&format!("{OWN_ID}:{}", escaped(id)));
        }
    }

    fn scalar(&mut self, field: &str, text: &str) {
        let value = escaped(text);
        let line = match field {
            "name" => format!("FN:{value}"),
            "organization" => format!("ORG:{value}"),
            "title" => format!("TITLE:{value}"),
            // RFC 2426 knows no day without a year; it is read in this form if it is.
            "birthday" if self.version == CardVersion::V4 || text.starts_with("--") => {
                format!("BDAY:{}", basic_day(text))
            }
            "birthday" => format!("BDAY:{text}"),
            "address" => format!("{WHOLE_ADDRESS};;{value};;;;"),
            _ => format!("{}:{value}", field.to_ascii_uppercase()),
        };
        self.line(&line);
    }

    fn kept(&mut self, index: usize, kept: &KeptProperty) {
        match self.says[index] {
            Says::Own | Says::Field => self.line(&line_in(kept, self.version)),
            Says::Nothing => {}
            Says::Element(kind, place) => {
                let list = self.lists.iter().position(|list| list.kind == kind);
                let list = list.expect("every kind has a list");
                self.elements(list, place + 1);
                if !self.lists[list].has_lines_left() {
                    // Before whatever is kept because there were too many.
                    self.elements(list, usize::MAX);
                }
            }
        }
    }

    /// Writes the elements of a list up to `end`.
    fn elements(&mut self, list: usize, end: usize) {
        let end = end.min(self.lists[list].items.len());
        while self.lists[list].written < end {
            let place = self.lists[list].written;
            self.lists[list].written += 1;
            let line = self.lists[list].lines[place];
            match line {
                Some(index) => {
                    let line = line_in(&self.kept[index], self.version);
                    self.line(&line);
                }
                None => self.element(list, place),
            }
        }
    }

    fn element(&mut self, list: usize, place: usize) {
        let list = &self.lists[list];
        let item = &list.items[place];
        let name = match list.kind {
            Kind::Phone => "TEL",
            Kind::Email => "EMAIL",
            Kind::Url => "URL",
            Kind::Address => "ADR",
        };
        let value = match list.kind {
            Kind::Phone | Kind::Email => escaped(&item.content),
            Kind::Address => structured(&AddressParts::of_content(&item.content).parts()),
            // There is one value, so nothing separates it from others; few readers expect escapes in it.
            Kind::Url => item.content.replace('\\', "\\\\"),
        };
        // What says that it is data would be read as that.
        let is_data = list.kind == Kind::Url && data(&item.content).is_some();
        let name = if is_data { "URL;VALUE=text" } else { name };
        let Some(label) = item.label.clone() else {
            return self.line(&format!("{name}:{value}"));
        };
        let words: Vec<&str> = label.split(' ').collect();
        if words.iter().all(|word| is_type(word)) && label_of_types(&words) == label {
            return self.line(&format!("{name};TYPE={}:{value}", words.join(",")));
        }
        let group = self.free_group();
        self.line(&format!("{group}.{name}:{value}"));
        self.line(&format!("{group}.X-ABLabel:{}", escaped(&label)));
    }

    /// A name for a group of lines that no other has.
    fn free_group(&mut self) -> String {
        let free = (1..u64::MAX)
            .map(|number| format!("item{number}"))
            .find(|name| !self.line_groups.contains(name))
            .expect("a card has fewer lines");
        self.line_groups.insert(free.clone());
        free
    }

    fn line(&mut self, line: &str) {
        push_line(&mut self.text, line);
    }
}

impl List {
    fn of(contact: &Contact, kind: Kind) -> Self {
        let items = contact.elements(kind);
        Self {
            kind,
            lines: vec![None; items.len()],
            items,
            written: 0,
        }
    }

    /// The first element that is what `draft` has one of, and has no line yet.
    fn find(&self, draft: &ContactDraft) -> Option<usize> {
        let wanted = draft.elements(self.kind).first()?;
        let is_it = |place: &usize| {
            let item = &self.items[*place];
            self.lines[*place].is_none()
                && item.content == wanted.content
                && item.label == wanted.label
        };
        (0..self.items.len()).find(is_it)
    }

    fn has_lines_left(&self) -> bool {
        self.lines[self.written..].iter().any(Option::is_some)
    }
}

fn scalar_of<'a>(contact: &'a Contact, field: &str) -> Option<&'a str> {
    match field {
        "name" => Some(contact.name.as_str()),
        "organization" => contact.organization.as_deref(),
        "title" => contact.title.as_deref(),
        "birthday" => contact.birthday.as_deref(),
        "address" => contact.address.as_deref(),
        "note" => contact.note.as_deref(),
        _ => None,
    }
}

/// Whether a word of a label can be written as a type, and is read as the same.
fn is_type(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The group that a line is in, in lower case.
fn line_group(kept: &KeptProperty) -> Option<String> {
    let end = kept.line.find([':', ';'])?;
    let (group, _) = kept.line[..end].split_once('.')?;
    Some(group.to_ascii_lowercase())
}
