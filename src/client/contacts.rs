//! The address book.

use bytes::Bytes;
use hyper::{Method, header};
use serde::Serialize;
use tokio::io::AsyncWrite;
use uuid::Uuid;

use super::{
    body::Payload,
    call::{Call, Condition, Tagged, escaped},
    client::Client,
    contact::{
        CardReport, Conflict, Contact, ContactChange, ContactDraft, Duplicates, ExportFormat,
        ImportCounts, ImportReport, Photo, PhotoBytes,
    },
    error::ClientError,
    import::ContactsFile,
    list::List,
};

const MERGE_PATCH: &str = "application/merge-patch+json";
/// How long a node may take to take the cards of one request in.
const IMPORT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);

/// The address book of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Contacts<'a>(&'a Client);

impl<'a> Contacts<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// Makes a contact, once however often it has to be asked for.
    pub async fn create(&self, contact: &ContactDraft) -> Result<Contact, ClientError> {
        self.create_once(contact, &Uuid::now_v7().to_string()).await
    }

    /// Makes a contact under a key of the caller's own: the same key and contact again make no other, through
    /// whatever node.
    pub async fn create_once(
        &self,
        contact: &ContactDraft,
        key: &str,
    ) -> Result<Contact, ClientError> {
        let call = Call::new(Method::POST, "/v1/contacts".to_owned())
            .keyed(key)?
            .json(contact)?;
        self.0.send(call).await?.json()
    }

    /// The contact `id`.
    pub async fn get(&self, id: &str) -> Result<Tagged<Contact>, ClientError> {
        self.0.send(Call::get(path(id))).await?.tagged()
    }

    /// Makes the contact `id` read as `contact`, whether it is there or not.
    pub async fn put(
        &self,
        id: &str,
        contact: &ContactDraft,
        condition: &Condition,
    ) -> Result<Tagged<Contact>, ClientError> {
        let call = Call::new(Method::PUT, path(id))
            .json(contact)?
            .when(condition)?;
        self.0.send(call).await?.tagged()
    }

    /// Changes some fields of the contact `id`, by a merge patch (RFC 7396).
    pub async fn patch(
        &self,
        id: &str,
        patch: &impl Serialize,
        condition: &Condition,
    ) -> Result<Tagged<Contact>, ClientError> {
        let bytes =
            serde_json::to_vec(patch).map_err(|error| ClientError::Request(error.to_string()))?;
        let call = Call::new(Method::PATCH, path(id))
            .body(MERGE_PATCH, Payload::Bytes(bytes.into()))?
            .when(condition)?;
        self.0.send(call).await?.tagged()
    }

    /// Removes the contact `id`.
    pub async fn delete(&self, id: &str) -> Result<(), ClientError> {
        self.0
            .send(Call::new(Method::DELETE, path(id)))
            .await
            .map(drop)
    }

    /// The photo of the contact `id`. If there is none that is held here, the problem says so.
    pub async fn photo(&self, id: &str) -> Result<Tagged<PhotoBytes>, ClientError> {
        let answer = self.0.send(Call::get(photo_path(id))).await?;
        let media_type = answer.text_header(&header::CONTENT_TYPE);
        Ok(Tagged {
            tag: answer.text_header(&header::ETAG),
            value: PhotoBytes {
                media_type: media_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                bytes: answer.body,
            },
        })
    }

    /// Gives the contact `id` this photo, an image of `media_type`, in place of the one it has.
    pub async fn put_photo(
        &self,
        id: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
        condition: &Condition,
    ) -> Result<Tagged<Photo>, ClientError> {
        let call = Call::new(Method::PUT, photo_path(id))
            .body(media_type, Payload::Bytes(bytes.into()))?
            .when(condition)?;
        self.0.send(call).await?.tagged()
    }

    /// Removes the photo of the contact `id`.
    pub async fn delete_photo(&self, id: &str) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, photo_path(id));
        self.0.send(call).await.map(drop)
    }

    /// All contacts, in the order of their names.
    #[must_use]
    pub fn list(&self) -> List<Contact> {
        self.find(None, None)
    }

    /// The contacts in which every word of `query` begins some word or number, best first, and which are in `group`.
    #[must_use]
    pub fn find(&self, query: Option<&str>, group: Option<&str>) -> List<Contact> {
        let mut call = Call::get("/v1/contacts");
        for (name, value) in [("q", query), ("group", group)] {
            if let Some(value) = value {
                call = call.parameter(name, value);
            }
        }
        List::new(self.0, call)
    }

    /// Writes the address book, or the contacts of `group`, into `target`; says after every piece how many bytes there
    /// are. An error says that what was written is not whole.
    pub async fn export(
        &self,
        format: ExportFormat,
        group: Option<&str>,
        target: &mut (impl AsyncWrite + Unpin + Send),
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), ClientError> {
        let mut call = Call::get("/v1/contacts/export").parameter("format", format.name());
        if let Some(group) = group {
            call = call.parameter("group", group);
        }
        self.0.download(&call, target, &mut progress).await
    }

    /// Contacts that may be one.
    #[must_use]
    pub fn duplicates(&self) -> List<Duplicates> {
        List::new(self.0, Call::get("/v1/contacts/duplicates"))
    }

    /// Makes `id` and `other` one contact, under `id`.
    pub async fn absorb(&self, id: &str, other: &str) -> Result<Contact, ClientError> {
        let path = format!("{}/absorb/{}", path(id), escaped(other));
        let call = Call::new(Method::POST, path).repeatable();
        self.0.send(call).await?.json()
    }

    /// Takes a file in, and calls `tell` for each card or row as the node decides it. The same file again changes
    /// nothing, also after an error halfway.
    pub async fn import_file(
        &self,
        file: ContactsFile,
        tell: impl FnMut(CardReport) + Send,
    ) -> Result<ImportCounts, ClientError> {
        file.import(self.0, tell).await
    }

    /// Takes the cards of a small file in (`docs/api.md`). The same again changes nothing.
    pub async fn import(
        &self,
        content_type: &str,
        cards: impl Into<Bytes>,
    ) -> Result<ImportReport, ClientError> {
        let mut call = Call::new(Method::POST, "/v1/contacts/import".to_owned())
            .repeatable()
            .body(content_type, Payload::Bytes(cards.into()))?;
        call.timeout = Some(IMPORT_TIMEOUT);
        self.0.send(call).await?.json()
    }

    /// What the node that answers remembers of what a contact was, the newest change first.
    #[must_use]
    pub fn history(&self, id: &str) -> List<ContactChange> {
        List::whole(self.0, Call::get(format!("{}/history", path(id))))
    }

    /// Takes the last change back that the node that answers remembers; `None` if the contact is removed by that. Not
    /// repeated when it is not answered: twice, it would be undone itself.
    pub async fn undo(
        &self,
        id: &str,
        condition: &Condition,
    ) -> Result<Option<Tagged<Contact>>, ClientError> {
        let call = Call::new(Method::POST, format!("{}/undo", path(id))).when(condition)?;
        let answer = self.0.send(call).await?;
        if answer.body.is_empty() {
            return Ok(None);
        }
        answer.tagged().map(Some)
    }

    /// Brings a removed contact back.
    pub async fn restore(&self, id: &str) -> Result<Tagged<Contact>, ClientError> {
        let call = Call::new(Method::POST, format!("{}/restore", path(id))).repeatable();
        self.0.send(call).await?.tagged()
    }

    /// The conflicts of one contact.
    #[must_use]
    pub fn conflicts_of(&self, id: &str) -> List<Conflict> {
        let call = Call::get(format!("{}/conflicts", path(id)));
        List::new(self.0, call)
    }

    /// The conflicts of all contacts.
    #[must_use]
    pub fn conflicts(&self) -> List<Conflict> {
        List::new(self.0, Call::get("/v1/conflicts"))
    }

    /// Shows the value of a conflict from now on, which settles all of that field.
    pub async fn choose(&self, id: &str, conflict: &str) -> Result<Contact, ClientError> {
        self.settle(id, conflict, "choose").await
    }

    /// Goes on showing what is shown, which settles all of that field.
    pub async fn dismiss(&self, id: &str, conflict: &str) -> Result<Contact, ClientError> {
        self.settle(id, conflict, "dismiss").await
    }

    async fn settle(&self, id: &str, conflict: &str, how: &str) -> Result<Contact, ClientError> {
        let conflict = escaped(conflict);
        let path = format!("{}/conflicts/{conflict}/{how}", path(id));
        let call = Call::new(Method::POST, path).repeatable();
        self.0.send(call).await?.json()
    }
}

fn path(id: &str) -> String {
    format!("/v1/contacts/{}", escaped(id))
}

fn photo_path(id: &str) -> String {
    format!("{}/photo", path(id))
}
