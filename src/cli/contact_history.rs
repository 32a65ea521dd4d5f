//! `grapevine contacts history` and `undo`: what a contact was, and having it back.

use serde_json::{Value, json};

use super::{
    contact_photo,
    contacts::described,
    listed::{self, Most},
    output::{Output, shown},
};
use crate::client::{Client, Condition};

/// A line for each change; what changed in it, field by field.
pub(super) async fn list(
    client: &Client,
    output: &mut Output,
    id: &str,
    most: &Most,
) -> anyhow::Result<()> {
    let header = ["AT", "BY", "CHANGE", "FIELDS"];
    let changes = client.contacts().history(id);
    listed::print(output, changes, most, header, |change| {
        let fields = change.fields.iter().map(|field| {
            let name = match &field.element {
                Some(element) => format!("{}/{element}", field.field),
                None => field.field.clone(),
            };
            let (before, after) = (text(&field.before), text(&field.after));
            format!("{}: {before} -> {after}", shown(&name))
        });
        let by = change.node.as_deref().unwrap_or(&change.replica);
        [
            change.at.clone(),
            shown(by),
            shown(&change.change),
            fields.collect::<Vec<_>>().join("; "),
        ]
    })
    .await
}

/// A value of a field, in a line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => shown(text),
        other => contact_photo::summary(other).unwrap_or_else(|| shown(&other.to_string())),
    }
}

/// Takes the last change back, and shows what is there then.
pub(super) async fn undo(client: &Client, output: &mut Output, id: &str) -> anyhow::Result<()> {
    match client.contacts().undo(id, &Condition::None).await? {
        Some(contact) => output.answer(&contact.value, described),
        None => output.answer(&json!({ "id": id, "deleted": true }), |_| {
            format!("{} is removed again", shown(id))
        }),
    }
}
