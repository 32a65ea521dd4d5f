//! How a contact is written, as the description tells it; what reads it is `ContactDraft` in the model.

#![allow(dead_code, reason = "they describe, and are never made")]

use serde_json::Value;
use utoipa::ToSchema;

/// A phone as it is written.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PhoneBody {
    /// The server's if it is not given.
    #[schema(max_length = 64, pattern = "^[a-zA-Z0-9_.-]*$")]
    id: Option<String>,
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    number: String,
    /// Shown only: taken, and ignored.
    e164: Option<String>,
}

/// An e-mail address as it is written.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailBody {
    /// The server's if it is not given.
    #[schema(max_length = 64, pattern = "^[a-zA-Z0-9_.-]*$")]
    id: Option<String>,
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 320,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    address: String,
}

/// A web address as it is written.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UrlBody {
    /// The server's if it is not given.
    #[schema(max_length = 64, pattern = "^[a-zA-Z0-9_.-]*$")]
    id: Option<String>,
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 2048,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    url: String,
}

/// A postal address as it is written; it has one of its parts at least.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressBody {
    /// The server's if it is not given.
    #[schema(max_length = 64, pattern = "^[a-zA-Z0-9_.-]*$")]
    id: Option<String>,
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    /// With the number of the house.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    street: Option<String>,
    /// A town or a village.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    locality: Option<String>,
    /// A state or a province.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    region: Option<String>,
    /// As it is written there.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    postal_code: Option<String>,
    /// Its name.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    country: Option<String>,
    /// A post office box.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    po_box: Option<String>,
    /// An apartment, a floor.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    extended: Option<String>,
}

/// What changes of a phone: null clears a label.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PhonePatch {
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 128,
        nullable = false,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    number: Option<String>,
    /// Shown only: taken, and ignored.
    e164: Option<String>,
}

/// What changes of an e-mail address: null clears a label.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailPatch {
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 320,
        nullable = false,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    address: Option<String>,
}

/// What changes of a web address: null clears a label.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UrlPatch {
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 2048,
        nullable = false,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    url: Option<String>,
}

/// What changes of a postal address: null clears a part, or the label.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressPatch {
    /// What it is for.
    #[schema(max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    label: Option<String>,
    /// With the number of the house.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    street: Option<String>,
    /// A town or a village.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    locality: Option<String>,
    /// A state or a province.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    region: Option<String>,
    /// As it is written there.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    postal_code: Option<String>,
    /// Its name.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    country: Option<String>,
    /// A post office box.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    po_box: Option<String>,
    /// An apartment, a floor.
    #[schema(
        max_length = 512,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    extended: Option<String>,
}

/// A name in its parts, as it is written: all of them, and those that are missing are none.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamePartsBody {
    #[schema(
        max_length = 256,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    family: Option<String>,
    #[schema(
        max_length = 256,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    given: Option<String>,
    #[schema(
        max_length = 256,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    additional: Option<String>,
    #[schema(
        max_length = 256,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    prefix: Option<String>,
    #[schema(
        max_length = 256,
        pattern = "^([^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*)?$"
    )]
    suffix: Option<String>,
}

/// A contact as it is written. What is shown and cannot be written is taken and ignored, so that what was read can be
/// sent back; an `id` must be that of the path.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactBody {
    #[schema(read_only, nullable = false)]
    id: Option<String>,
    /// What the person is called; not blank. Only where `name_parts` says it, it may be missing, and is put together from
    /// them.
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$",
        nullable = false
    )]
    name: Option<String>,
    name_parts: Option<NamePartsBody>,
    /// Where the person works.
    #[schema(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    organization: Option<String>,
    /// As what.
    #[schema(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    title: Option<String>,
    /// `YYYY-MM-DD`, or `--MM-DD` without the year.
    #[schema(pattern = "^([12][0-9]{3}|-)-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")]
    birthday: Option<String>,
    /// A postal address that nobody took apart, as one text.
    #[schema(
        max_length = 1024,
        pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$"
    )]
    address: Option<String>,
    /// Anything.
    #[schema(
        max_length = 65536,
        pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$"
    )]
    note: Option<String>,
    #[schema(max_items = 100)]
    phones: Option<Vec<PhoneBody>>,
    #[schema(max_items = 100)]
    emails: Option<Vec<EmailBody>>,
    #[schema(max_items = 100)]
    urls: Option<Vec<UrlBody>>,
    #[schema(max_items = 100)]
    addresses: Option<Vec<AddressBody>>,
    /// The names of groups, of 1 to 128 characters each.
    #[schema(max_items = 100)]
    groups: Option<Vec<String>>,
    /// It stays, whatever is said here: it has a path of its own.
    #[schema(read_only)]
    photo: Option<Value>,
    #[schema(read_only)]
    created_at: Option<Value>,
    #[schema(read_only)]
    updated_at: Option<Value>,
    #[schema(read_only)]
    revived: Option<Value>,
    #[schema(read_only)]
    conflicts: Option<Value>,
    #[schema(read_only)]
    vcard: Option<Value>,
}

/// A merge patch (RFC 7396) of a contact: what is there replaces, `null` deletes, what is missing stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactPatch {
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[!-~][^\\x00-\\x1f\\x7f-\\x9f]*$",
        nullable = false
    )]
    name: Option<String>,
    /// What is there replaces, `null` deletes, what is missing stays; together they are one value.
    name_parts: Option<NamePartsBody>,
    #[schema(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    organization: Option<String>,
    #[schema(max_length = 256, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    title: Option<String>,
    #[schema(pattern = "^([12][0-9]{3}|-)-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")]
    birthday: Option<String>,
    #[schema(
        max_length = 1024,
        pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$"
    )]
    address: Option<String>,
    #[schema(
        max_length = 65536,
        pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$"
    )]
    note: Option<String>,
    #[schema(max_items = 100)]
    phones: Option<Vec<PhoneBody>>,
    #[schema(max_items = 100)]
    emails: Option<Vec<EmailBody>>,
    #[schema(max_items = 100)]
    urls: Option<Vec<UrlBody>>,
    #[schema(max_items = 100)]
    addresses: Option<Vec<AddressBody>>,
    #[schema(max_items = 100)]
    groups: Option<Vec<String>>,
    /// `null` removes it. Whatever else is said here is ignored: it has a path of its own.
    photo: Option<Value>,
}
