//! What `grapevine contacts add` and `edit` are told of a contact, as flags.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::kv;
use crate::client::{
    Client, Condition, Contact, ContactDraft, Email, NameParts, Phone, PostalAddress, ProblemKind,
    Url,
};

/// How often an edit is made anew on what somebody else wrote in the meantime.
const MAX_EDIT_ATTEMPTS: usize = 5;

/// The fields that are one text.
#[derive(Debug, Args)]
struct Texts {
    /// Where the person works
    #[arg(long)]
    organization: Option<String>,
    /// As what
    #[arg(long)]
    title: Option<String>,
    /// YYYY-MM-DD, or --MM-DD without the year
    #[arg(long, allow_hyphen_values = true)]
    birthday: Option<String>,
    /// A postal address that is not taken apart
    #[arg(long)]
    address: Option<String>,
    /// Anything
    #[arg(long)]
    note: Option<String>,
    /// Adds a phone
    #[arg(long = "phone", value_name = "[LABEL=]NUMBER")]
    phones: Vec<String>,
    /// Adds an e-mail address
    #[arg(long = "email", value_name = "[LABEL=]ADDRESS")]
    emails: Vec<String>,
    /// Adds a web address
    #[arg(long = "url", value_name = "[LABEL=]URL")]
    urls: Vec<String>,
    /// Adds a postal address; parts at the end may be left out, others be empty
    #[arg(
        long = "postal-address",
        value_name = "[LABEL=]STREET;LOCALITY;REGION;POSTAL CODE;COUNTRY"
    )]
    addresses: Vec<String>,
    /// Adds a group
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
}

/// The parts of a name.
#[derive(Debug, Args)]
struct Parts {
    /// The family's name
    #[arg(long)]
    family: Option<String>,
    /// The given name
    #[arg(long)]
    given: Option<String>,
    /// Further given names
    #[arg(long)]
    additional: Option<String>,
    /// What stands before the name
    #[arg(long)]
    prefix: Option<String>,
    /// What stands behind the name
    #[arg(long)]
    suffix: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// What the person is called; without it, what --given, --family and the like say
    #[arg(required_unless_present_any = ["from", "family", "given", "additional", "prefix", "suffix"], conflicts_with = "from")]
    name: Option<String>,
    /// The id, if it is not the node's to choose; it must not be there
    #[arg(long)]
    id: Option<String>,
    /// A file with the contact in JSON, in place of flags; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    texts: Texts,
}

#[derive(Debug, Args)]
pub(super) struct Edit {
    /// Its id
    id: String,
    /// What the person is called
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    texts: Texts,
    /// Removes a phone
    #[arg(long, value_name = "NUMBER|ID")]
    remove_phone: Vec<String>,
    /// Removes an e-mail address
    #[arg(long, value_name = "ADDRESS|ID")]
    remove_email: Vec<String>,
    /// Removes a web address
    #[arg(long, value_name = "URL|ID")]
    remove_url: Vec<String>,
    /// Removes a postal address
    #[arg(long, value_name = "ID")]
    remove_postal_address: Vec<String>,
    /// Removes a group
    #[arg(long, value_name = "NAME")]
    remove_group: Vec<String>,
}

impl Add {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<Contact> {
        let mut draft = match &self.from {
            Some(file) => {
                let bytes = kv::read(file).await?;
                serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is no contact", file.display()))?
            }
            None => ContactDraft::default(),
        };
        if let Some(name) = self.name {
            draft.name = name;
        }
        self.parts.put_into(&mut draft);
        self.texts.put_into(&mut draft);
        let contacts = client.contacts();
        Ok(match self.id {
            Some(id) => contacts.put(&id, &draft, &Condition::Absent).await?.value,
            None => contacts.create(&draft).await?,
        })
    }
}

impl Edit {
    /// Elements are added to those that are there: if those change in between, once more.
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<Contact> {
        let contacts = client.contacts();
        for _ in 0..MAX_EDIT_ATTEMPTS {
            let current = contacts.get(&self.id).await?;
            let patch = self.patch(&current.value.fields)?;
            match contacts.patch(&self.id, &patch, &current.unchanged()).await {
                Ok(edited) => return Ok(edited.value),
                Err(error) if error.is(ProblemKind::PreconditionFailed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("others go on changing it at the same time")
    }

    fn patch(&self, current: &ContactDraft) -> anyhow::Result<Value> {
        let mut wanted = current.clone();
        if let Some(name) = &self.name {
            wanted.name.clone_from(name);
        }
        for gone in &self.remove_phone {
            let before = wanted.phones.len();
            wanted
                .phones
                .retain(|phone| phone.number != *gone && phone.id.as_ref() != Some(gone));
            missing(before == wanted.phones.len(), "phone", gone)?;
        }
        for gone in &self.remove_email {
            let before = wanted.emails.len();
            wanted
                .emails
                .retain(|email| email.address != *gone && email.id.as_ref() != Some(gone));
            missing(before == wanted.emails.len(), "e-mail address", gone)?;
        }
        for gone in &self.remove_url {
            let before = wanted.urls.len();
            wanted
                .urls
                .retain(|it| it.url != *gone && it.id.as_ref() != Some(gone));
            missing(before == wanted.urls.len(), "web address", gone)?;
        }
        for gone in &self.remove_postal_address {
            let before = wanted.addresses.len();
            wanted.addresses.retain(|it| it.id.as_ref() != Some(gone));
            missing(before == wanted.addresses.len(), "postal address", gone)?;
        }
        for gone in &self.remove_group {
            let before = wanted.groups.len();
            wanted.groups.retain(|group| group != gone);
            missing(before == wanted.groups.len(), "group", gone)?;
        }
        self.parts.put_into(&mut wanted);
        self.texts.put_into(&mut wanted);
        changes(current, &wanted)
    }
}

impl Parts {
    /// An empty text takes a part away.
    fn put_into(&self, draft: &mut ContactDraft) {
        let mut parts = draft.name_parts.take().unwrap_or_default();
        for (given, field) in [
            (&self.family, &mut parts.family),
            (&self.given, &mut parts.given),
            (&self.additional, &mut parts.additional),
            (&self.prefix, &mut parts.prefix),
            (&self.suffix, &mut parts.suffix),
        ] {
            if let Some(text) = given {
                *field = Some(text.clone()).filter(|text| !text.is_empty());
            }
        }
        draft.name_parts = (parts != NameParts::default()).then_some(parts);
    }
}

impl Texts {
    fn put_into(&self, draft: &mut ContactDraft) {
        for (given, field) in [
            (&self.organization, &mut draft.organization),
            (&self.title, &mut draft.title),
            (&self.birthday, &mut draft.birthday),
            (&self.address, &mut draft.address),
            (&self.note, &mut draft.note),
        ] {
            if given.is_some() {
                field.clone_from(given);
            }
        }
        for phone in &self.phones {
            let (label, number) = labelled(phone);
            draft.phones.push(Phone {
                label,
                number,
                ..Phone::default()
            });
        }
        for email in &self.emails {
            let (label, address) = labelled(email);
            draft.emails.push(Email {
                id: None,
                label,
                address,
            });
        }
        for url in &self.urls {
            let (label, url) = labelled(url);
            draft.urls.push(Url {
                id: None,
                label,
                url,
            });
        }
        let addresses = self.addresses.iter();
        draft
            .addresses
            .extend(addresses.map(|it| postal_address(it)));
        for group in &self.groups {
            if !draft.groups.contains(group) {
                draft.groups.push(group.clone());
            }
        }
    }
}

fn postal_address(text: &str) -> PostalAddress {
    let (label, text) = labelled(text);
    let mut parts = text.splitn(5, ';').map(|part| {
        let part = part.trim();
        (!part.is_empty()).then(|| part.to_owned())
    });
    let mut next = || parts.next().flatten();
    PostalAddress {
        label,
        street: next(),
        locality: next(),
        region: next(),
        postal_code: next(),
        country: next(),
        ..PostalAddress::default()
    }
}

/// `LABEL=TEXT`, or only the text. What has an `@` or `://` before the sign is an address that has the sign in it.
fn labelled(text: &str) -> (Option<String>, String) {
    match text.split_once('=') {
        Some((label, rest)) if !label.contains('@') && !label.contains("://") => {
            let label = (!label.is_empty()).then(|| label.to_owned());
            (label, rest.to_owned())
        }
        _ => (None, text.to_owned()),
    }
}

fn missing(missing: bool, what: &str, gone: &str) -> anyhow::Result<()> {
    if missing {
        bail!("the contact has no {what} {gone:?}");
    }
    Ok(())
}

/// The merge patch of the fields that differ.
fn changes(current: &ContactDraft, wanted: &ContactDraft) -> anyhow::Result<Value> {
    let current = serde_json::to_value(current)?;
    let mut patch = Map::new();
    if let Value::Object(wanted) = serde_json::to_value(wanted)? {
        patch.extend(
            wanted
                .into_iter()
                .filter(|(field, value)| current[field] != *value),
        );
    }
    Ok(json!(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_patched() {
        let current = ContactDraft {
            name: "Ada".to_owned(),
            title: Some("Analyst".to_owned()),
            ..ContactDraft::default()
        };
        let wanted = ContactDraft {
            title: None,
            groups: vec!["friends".to_owned()],
            ..current.clone()
        };
        let patch = changes(&current, &wanted).expect("it is JSON");
        assert_eq!(patch, json!({ "title": null, "groups": ["friends"] }));
    }

    #[test]
    fn a_postal_address_is_its_parts_in_order() {
        let address = postal_address("home=12 Square; London;;SW1Y");
        assert_eq!(address.label.as_deref(), Some("home"));
        assert_eq!(address.street.as_deref(), Some("12 Square"));
        assert_eq!(address.locality.as_deref(), Some("London"));
        assert_eq!(address.region, None);
        assert_eq!(address.postal_code.as_deref(), Some("SW1Y"));
        assert_eq!(address.country, None);
    }

    #[test]
    fn a_label_is_before_the_sign_unless_that_is_an_address() {
        let of = |label: Option<&str>, text: &str| (label.map(str::to_owned), text.to_owned());
        assert_eq!(labelled("work=+44 1"), of(Some("work"), "+44 1"));
        assert_eq!(labelled("+44 1"), of(None, "+44 1"));
        assert_eq!(labelled("a@b.example?x=1"), of(None, "a@b.example?x=1"));
        let url = "https://a.example/?q=1";
        assert_eq!(labelled(url), of(None, url));
        assert_eq!(labelled(&format!("blog={url}")), of(Some("blog"), url));
        assert_eq!(labelled("=a=b@c.example"), of(None, "a=b@c.example"));
    }
}
