//! `grapevine contacts`: the address book.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    contact_export::Export,
    contact_fields::{Add, Edit},
    contact_history,
    contact_import::Import,
    contact_photo::{self, PhotoOf},
    listed::{self, Most},
    nodes::NodeArgs,
    output::{Output, rendered, shown, table},
};
use crate::client::{Client, Conflict, Contact, List};

/// Looks up and keeps contacts.
#[derive(Debug, Args)]
pub(super) struct Contacts {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists contacts, in the order of their names
    #[command(after_help = "Example:\n  grapevine contacts list --group friends --limit 20")]
    List {
        /// Only those of this group
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        #[command(flatten)]
        most: Most,
    },
    /// Finds contacts by the beginnings of words and numbers, whatever the case and the accents; the best first
    #[command(
        after_help = "Examples:\n  grapevine contacts search nguyen\n  grapevine contacts search ada 44 20"
    )]
    Search {
        /// All of these
        #[arg(required = true, value_name = "WORD")]
        words: Vec<String>,
        /// Only those of this group
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        #[command(flatten)]
        most: Most,
    },
    /// Lists contacts that may be one: they share a number, an e-mail address or a name
    #[command(after_help = "Example:\n  grapevine contacts duplicates")]
    Duplicates(Most),
    /// Makes two contacts one: the first takes what it lacks, and the other is removed
    #[command(after_help = "Example:\n  grapevine contacts absorb ada ada2")]
    Absorb {
        /// The id of the contact that stays
        id: String,
        /// The id of the one that goes
        other: String,
    },
    /// Shows a contact
    #[command(after_help = "Example:\n  grapevine contacts show ada")]
    Show(Id),
    /// Makes a contact, and says its id
    #[command(
        after_help = "Examples:\n  grapevine contacts add \"Ada Byron\" --title Analyst --phone \"work=+44 20 7946 0000\" --group friends\n  \
            echo '{\"name\": \"Grace\"}' | grapevine contacts add --from -"
    )]
    Add(Box<Add>),
    /// Changes what is said of a contact, and leaves the rest as it is
    #[command(
        after_help = "Examples:\n  grapevine contacts edit ada --title Countess --note \"\"\n  \
            grapevine contacts edit ada --phone \"home=+44 20 7946 0001\" --remove-phone \"+44 20 7946 0000\""
    )]
    Edit(Box<Edit>),
    /// Removes contacts
    #[command(after_help = "Example:\n  grapevine contacts rm ada bob")]
    Rm {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Writes the photo of a contact into a file, sets or removes it
    Photo(PhotoOf),
    /// Takes the vCards or the rows of a file in; the same file again changes nothing
    ///
    /// Exit code 1 says that some card was rejected.
    #[command(after_help = "Examples:\n  grapevine contacts import friends.vcf\n  \
            grapevine contacts import kontakte.csv --map \"Nom=name;Tel=phone:home\"")]
    Import(Import),
    /// Writes the address book into a file, or to standard output; what was imported comes out whole
    #[command(
        after_help = "Examples:\n  grapevine contacts export friends.vcf --group friends\n  \
            grapevine contacts export --format vcard4 | gzip > all.vcf.gz"
    )]
    Export(Export),
    /// Lists what a contact was, as one node remembers it, the newest change first
    #[command(after_help = "Example:\n  grapevine contacts history ada")]
    History {
        /// Its id
        id: String,
        #[command(flatten)]
        most: Most,
    },
    /// Takes the last change of a contact back, be it a removal; again, it takes that back
    #[command(after_help = "Example:\n  grapevine contacts undo ada")]
    Undo(Id),
    /// Brings a removed contact back
    #[command(after_help = "Example:\n  grapevine contacts restore ada")]
    Restore(Id),
    /// Lists what lost a merge without having been seen
    #[command(
        after_help = "Examples:\n  grapevine contacts conflicts\n  grapevine contacts conflicts ada"
    )]
    Conflicts {
        /// Of one contact
        id: Option<String>,
        #[command(flatten)]
        most: Most,
    },
    /// Shows the value of a conflict from now on
    #[command(after_help = "Example:\n  grapevine contacts choose ada 5f0c")]
    Choose(Settle),
    /// Goes on showing what is shown in place of a conflict
    #[command(after_help = "Example:\n  grapevine contacts dismiss ada 5f0c")]
    Dismiss(Settle),
}

#[derive(Debug, Args)]
struct Id {
    /// Its id
    id: String,
}

#[derive(Debug, Args)]
struct Settle {
    /// The id of the contact
    id: String,
    /// The id of the conflict, as `contacts conflicts` tells it
    conflict: String,
}

impl Contacts {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let mut output = self.nodes.output();
        match self.action {
            Action::List { group, most } => {
                let found = client.contacts().find(None, group.as_deref());
                print(&mut output, found, &most).await?;
            }
            Action::Search { words, group, most } => {
                let query = words.join(" ");
                let found = client.contacts().find(Some(&query), group.as_deref());
                print(&mut output, found, &most).await?;
            }
            Action::Duplicates(most) => duplicates(&client, &mut output, &most).await?,
            Action::Absorb { id, other } => {
                let contact = client.contacts().absorb(&id, &other).await?;
                output.answer(&contact, described)?;
            }
            Action::Show(Id { id }) => {
                let contact = client.contacts().get(&id).await?.value;
                output.answer(&contact, described)?;
            }
            Action::Add(add) => {
                let contact = add.run(&client).await?;
                output.answer(&contact, |contact| contact.id.clone())?;
            }
            Action::Edit(edit) => {
                let contact = edit.run(&client).await?;
                output.answer(&contact, described)?;
            }
            Action::Rm { ids } => remove(&client, &mut output, &ids).await?,
            Action::Photo(photo) => photo.run(&client, &mut output).await?,
            Action::Import(import) => import.run(&client, &mut output).await?,
            Action::Export(export) => export.run(&client).await?,
            Action::History { id, most } => {
                contact_history::list(&client, &mut output, &id, &most).await?;
            }
            Action::Undo(Id { id }) => contact_history::undo(&client, &mut output, &id).await?,
            Action::Restore(Id { id }) => {
                let contact = client.contacts().restore(&id).await?.value;
                output.answer(&contact, described)?;
            }
            Action::Conflicts { id, most } => {
                let list = match &id {
                    Some(id) => client.contacts().conflicts_of(id),
                    None => client.contacts().conflicts(),
                };
                conflicts(&mut output, list, &most).await?;
            }
            Action::Choose(settle) => {
                let contacts = client.contacts();
                let contact = contacts.choose(&settle.id, &settle.conflict).await?;
                output.answer(&contact, described)?;
            }
            Action::Dismiss(settle) => {
                let contacts = client.contacts();
                let contact = contacts.dismiss(&settle.id, &settle.conflict).await?;
                output.answer(&contact, described)?;
            }
        }
        output.flush()
    }
}

async fn duplicates(client: &Client, output: &mut Output, most: &Most) -> anyhow::Result<()> {
    let header = ["REASON", "VALUE", "CONTACTS"];
    listed::print(
        output,
        client.contacts().duplicates(),
        most,
        header,
        |group| {
            let named = group.contacts.iter();
            let named = named.map(|named| format!("{} ({})", shown(&named.name), shown(&named.id)));
            let named: Vec<String> = named.collect();
            [group.reason.clone(), shown(&group.value), named.join(", ")]
        },
    )
    .await
}

async fn remove(client: &Client, output: &mut Output, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        client.contacts().delete(id).await?;
        if output.is_json() {
            output.json_line(&json!({ "id": id, "deleted": true }))?;
        }
    }
    Ok(())
}

/// A list of contacts; people get of each what tells it from others.
async fn print(output: &mut Output, contacts: List<Contact>, most: &Most) -> anyhow::Result<()> {
    let header = ["ID", "NAME", "ORGANIZATION", "PHONE", "E-MAIL", "CONFLICTS"];
    listed::print(output, contacts, most, header, |contact| {
        let fields = &contact.fields;
        let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), shown);
        let phone = fields.phones.first().map(|phone| phone.number.as_str());
        let email = fields.emails.first().map(|email| email.address.as_str());
        [
            shown(&contact.id),
            shown(&fields.name),
            or_dash(fields.organization.as_deref()),
            or_dash(phone),
            or_dash(email),
            contact.conflicts.to_string(),
        ]
    })
    .await
}

async fn conflicts(
    output: &mut Output,
    conflicts: List<Conflict>,
    most: &Most,
) -> anyhow::Result<()> {
    let header = ["CONTACT", "CONFLICT", "FIELD", "LOST", "SHOWN", "BY", "AT"];
    listed::print(output, conflicts, most, header, |conflict| {
        let field = match &conflict.element {
            Some(element) => format!("{}/{element}", conflict.field),
            None => conflict.field.clone(),
        };
        let text = contact_history::text;
        let current = conflict.more.get("shown").map(|current| &current["value"]);
        [
            shown(&conflict.contact),
            conflict.id.clone(),
            shown(&field),
            text(&conflict.value),
            current.map_or_else(|| "-".to_owned(), text),
            conflict
                .node
                .as_deref()
                .map_or_else(|| "-".to_owned(), shown),
            conflict.at.clone(),
        ]
    })
    .await
}

/// A contact as people read it: what is there, a line each.
pub(super) fn described(contact: &Contact) -> String {
    let fields = &contact.fields;
    let mut rows: Vec<(&str, String)> = vec![("name", shown(&fields.name))];
    let labelled = |text: &str, label: Option<&str>| match label {
        Some(label) => format!("{} ({})", shown(text), shown(label)),
        None => shown(text),
    };
    if let Some(parts) = &fields.name_parts {
        for (part, text) in [
            ("prefix", &parts.prefix),
            ("given name", &parts.given),
            ("additional", &parts.additional),
            ("family name", &parts.family),
            ("suffix", &parts.suffix),
        ] {
            rows.extend(text.as_deref().map(|text| (part, shown(text))));
        }
    }
    for phone in &fields.phones {
        let mut text = labelled(&phone.number, phone.label.as_deref());
        // Whoever writes the code of the country shows it.
        let is_plain = !phone.number.trim_start().starts_with('+');
        if let Some(e164) = phone.e164.as_deref().filter(|_| is_plain) {
            text = format!("{text}: {}", shown(e164));
        }
        rows.push(("phone", text));
    }
    for email in &fields.emails {
        rows.push(("e-mail", labelled(&email.address, email.label.as_deref())));
    }
    for url in &fields.urls {
        rows.push(("url", labelled(&url.url, url.label.as_deref())));
    }
    for address in &fields.addresses {
        let parts = [
            &address.po_box,
            &address.extended,
            &address.street,
            &address.locality,
            &address.region,
            &address.postal_code,
            &address.country,
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        let text = parts.join(", ").replace(['\r', '\n'], " ");
        rows.push(("postal address", labelled(&text, address.label.as_deref())));
    }
    for (name, value) in [
        ("organization", &fields.organization),
        ("title", &fields.title),
        ("birthday", &fields.birthday),
        ("address", &fields.address),
        ("note", &fields.note),
    ] {
        let lines = |value: &str| value.lines().map(shown).collect::<Vec<_>>().join("\n");
        rows.extend(value.as_deref().map(|value| (name, lines(value))));
    }
    if !fields.groups.is_empty() {
        rows.push(("groups", shown(&fields.groups.join(", "))));
    }
    if let Some(photo) = &contact.photo {
        rows.push(("photo", contact_photo::described(photo, &contact.id)));
    }
    if contact.revived {
        let why = "yes: it was removed, and edited by somebody who did not know";
        rows.push(("revived", why.to_owned()));
    }
    if contact.conflicts > 0 {
        let how = format!(
            "{} (grapevine contacts conflicts {})",
            contact.conflicts,
            shown(&contact.id)
        );
        rows.push(("conflicts", how));
    }
    rows.push(("updated", contact.updated_at.clone()));
    let mut table = table(["id", contact.id.as_str()]);
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    rendered(&table)
}
