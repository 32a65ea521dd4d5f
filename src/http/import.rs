//! `/v1/contacts/import`: vCards or CSV, with a report of what became of every card.
//!
//! The body is spooled into a file first, so what is cut off on its way changes nothing, and then read card by card:
//! however many there are, few are in memory at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs::File,
    future::ready,
    io::{self, BufReader, Seek as _},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use encoding_rs::Encoding;
use serde::Serialize;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    HttpState, body,
    contacts::{entity_id, stamp},
    describe::{CsvMap, Seen},
    import_report::{CardReport, Counts, Report, ended_by, summary},
    problem::{Problem, ProblemKind},
    query::Parameters,
    session::{Session, Writes, Written, tracked},
    spool::spool,
    streamed::{Chunk, Streamed},
};
use crate::{
    model::{
        Card, CardReader, InvalidContact, PartitionId, Region, RejectedCard, Source,
        UnreadableFile,
        contact_csv::{ColumnMap, InvalidCsv, RowReader, check_csv},
        vcard_edit,
    },
    store::{Store, WriteError},
};

/// The longest that an import may take.
pub(super) const MAX_CONTACTS_IMPORT_TIME: Duration = Duration::from_secs(60 * 60);
/// The most cards of one import: of each is remembered which contact it made.
pub const MAX_CARDS_PER_IMPORT: usize = 500_000;
/// The most bytes of one import: 1 GiB.
pub(super) const MAX_IMPORT_BYTES: u64 = 1_024 * 1_024 * 1_024;
/// The most imports at once.
pub(super) const MAX_IMPORTS: usize = 4;
/// How many cards are read, and written, at once: enough to share a commit, few enough that others get their turn.
const CARDS_AT_ONCE: usize = 256;
/// No more cards are read at once once they have so many bytes together.
const BYTES_AT_ONCE: usize = 8 * 1_024 * 1_024;
/// How many pieces of a report wait for the client.
const MAX_CHUNKS_WAITING: usize = 4;
const JSON_LINES: &str = "application/x-ndjson";

/// Imports vCards or CSV
///
/// The same file again, on any node, changes nothing. Who accepts `application/x-ndjson` is told of each card as it is
/// decided.
#[utoipa::path(post, path = "/v1/contacts/import", tag = "contacts", operation_id = "importContacts",
    params(CsvMap, Seen),
    request_body(content(
        (String = "text/vcard", example = json!("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:2f6e0a3c-5f6b-4f0e-9d52-2a8f0c1b7e11\r\nFN:Grace Hopper\r\nTEL:+1 202 555 0100\r\nEND:VCARD\r\n")),
        (String = "text/csv", example = json!("Name,E-mail,Phone\r\nGrace Hopper,grace@example.org,+1 202 555 0100\r\n")),
    ), description = "vCards (2.1, 3.0 or 4.0), one after another, or rows under a header"),
    responses((status = 200, description = "What became of each card", body = Report), (status = 415, description = ""), (status = 422, description = "")))]
pub(super) async fn import(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let parameters = Parameters::read(&parts.uri, &["map"])?;
    let form = Form::read(&parts.headers, &parameters)?;
    let Ok(place) = state.taking_in.clone().try_acquire_owned() else {
        let detail = format!("{MAX_IMPORTS} imports are under way");
        return Err(Problem::overloaded(detail));
    };
    let limit = state.limits.max_import_bytes;
    let file = spool(&state.spool, body, "contacts", limit).await?;
    // Nobody knows yet which contacts there are in it.
    let session = Session::of_writes(&parts.headers, &state, &PartitionId::all().collect()).await?;
    let opened = tokio::task::spawn_blocking(move || form.open(file)).await;
    let reader = opened.map_err(|error| Problem::internal(&error))??;
    let mut import = Import::new(&state, session);
    import.counts.ignored_columns = reader.ignored_columns();
    let (sender, cards) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || read(reader, &sender));
    if accepts_lines(&parts.headers) {
        let (sender, chunks) = mpsc::channel(MAX_CHUNKS_WAITING);
        tokio::spawn(async move {
            let _place = place;
            import.tell(cards, &sender).await;
        });
        let Ok(body) = Streamed::begin(chunks).await;
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
        return Ok(response);
    }
    let mut report = Report::default();
    let mut list = |card| {
        report.list(card);
        ready(true)
    };
    import.take_all(cards, &mut list).await?;
    report.counts = import.counts;
    let token = import.session.answer_writes(import.written);
    Ok(token.put(body::json(StatusCode::OK, &report)?))
}

/// What a body is, by what is said of it.
enum Form {
    Cards {
        charset: Option<String>,
    },
    Csv {
        charset: Option<&'static Encoding>,
        map: ColumnMap,
    },
}

impl Form {
    fn read(headers: &HeaderMap, parameters: &Parameters) -> Result<Self, Problem> {
        let is_csv = is_csv(headers)?;
        let charset = charset(headers);
        let map = parameters.text("map");
        if !is_csv {
            if map.is_some() {
                let detail = "a map is for CSV; say `Content-Type: text/csv`";
                return Err(Problem::malformed("map", detail));
            }
            return Ok(Self::Cards { charset });
        }
        let known = |label: String| {
            let encoding = Encoding::for_label(label.as_bytes());
            encoding.ok_or(UnreadableFile::Charset(label))
        };
        let map = ColumnMap::read(map.unwrap_or_default())
            .map_err(|error| Problem::malformed("map", error.to_string()))?;
        let charset = charset.map(known).transpose()?;
        Ok(Self::Csv { charset, map })
    }

    /// Looks through a file that must be whole to be read at all.
    fn open(self, mut file: File) -> Result<Reader, Problem> {
        let (charset, map) = match self {
            Self::Cards { charset } => {
                let reader = CardReader::new(BufReader::new(file), charset.as_deref())?;
                return Ok(Reader::Cards(reader));
            }
            Self::Csv { charset, map } => (charset, map),
        };
        let again = file
            .try_clone()
            .map_err(|error| Problem::internal(&error))?;
        let whole = RowReader::decoded(BufReader::new(again), charset);
        let shape = check_csv(whole).map_err(|error| Problem::internal(&error))??;
        file.rewind().map_err(|error| Problem::internal(&error))?;
        let rows = RowReader::decoded(BufReader::new(file), charset);
        Ok(Reader::Rows(RowReader::new(rows, shape, &map)?))
    }
}

/// Reads the file of an import.
enum Reader {
    Cards(CardReader<'static>),
    Rows(RowReader<'static>),
}

impl Reader {
    fn next(&mut self) -> io::Result<Option<Result<Card, RejectedCard>>> {
        match self {
            Self::Cards(cards) => cards.next(),
            Self::Rows(rows) => rows.next(),
        }
    }

    const fn stray_lines(&self) -> usize {
        match self {
            Self::Cards(cards) => cards.stray_lines(),
            Self::Rows(_) => 0,
        }
    }

    fn ignored_columns(&self) -> Vec<String> {
        match self {
            Self::Cards(_) => Vec::new(),
            Self::Rows(rows) => rows.ignored_columns().map(str::to_owned).collect(),
        }
    }

    /// Whether a file without anything to take is none.
    const fn must_hold_some(&self) -> bool {
        matches!(self, Self::Cards(_))
    }
}

/// Cards that were read, in their order, and how many lines so far belong to none.
type Batch = Result<(Vec<Result<Card, RejectedCard>>, usize), Problem>;

/// Reads the cards of a file, a batch ahead of who takes them.
fn read(mut reader: Reader, sender: &mpsc::Sender<Batch>) {
    let mut any = false;
    loop {
        let batch = read_batch(&mut reader).map_err(|error| Problem::internal(&error));
        let last = batch.as_ref().map_or(true, Vec::is_empty);
        let batch = match batch {
            Ok(cards) if cards.is_empty() && (any || !reader.must_hold_some()) => return,
            Ok(cards) if cards.is_empty() => Err(UnreadableFile::NoCard.into()),
            Ok(cards) => Ok((cards, reader.stray_lines())),
            Err(problem) => Err(problem),
        };
        any = true;
        if sender.blocking_send(batch).is_err() || last {
            return;
        }
    }
}

fn read_batch(reader: &mut Reader) -> io::Result<Vec<Result<Card, RejectedCard>>> {
    let mut cards = Vec::new();
    let mut bytes = 0;
    while cards.len() < CARDS_AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some(card) = reader.next()? else {
            break;
        };
        if let Ok(card) = &card {
            bytes += card.kept.iter().map(|kept| kept.line.len()).sum::<usize>();
        }
        cards.push(card);
    }
    Ok(cards)
}

/// An import under way.
struct Import {
    store: Store,
    region: Option<Region>,
    session: Session,
    counts: Counts,
    written: Writes,
    sources: Sources,
}

/// The sources of the contacts of an import, as far as its cards were taken.
#[derive(Default)]
struct Sources {
    of: BTreeMap<u128, Taking>,
}

/// Of one contact.
#[derive(Default)]
struct Taking {
    source: Source,
    /// Hashes of its cards.
    cards: BTreeSet<u64>,
}

impl Sources {
    /// The source once `card` is taken in; one that was there before adds nothing.
    fn add(&mut self, card: &Card) -> Source {
        let id = blake3::hash(card.id.as_bytes());
        let (id, _) = id.as_bytes().split_first_chunk().expect("it has 32 bytes");
        let (hash, _) = card.hash.split_first_chunk().expect("it has 32 bytes");
        let seen = self.of.entry(u128::from_be_bytes(*id)).or_default();
        if seen.cards.insert(u64::from_be_bytes(*hash)) {
            seen.source = seen.source.and(card);
        }
        seen.source
    }
}

impl Import {
    fn new(state: &HttpState, session: Session) -> Self {
        Self {
            store: state.store.clone(),
            region: state.region,
            session,
            counts: Counts::default(),
            written: Writes::default(),
            sources: Sources::default(),
        }
    }

    /// Takes all cards in, and calls `tell` for each in their order, until it says that nobody listens any more.
    async fn take_all<F>(
        &mut self,
        mut batches: mpsc::Receiver<Batch>,
        tell: &mut (dyn FnMut(CardReport) -> F + Send),
    ) -> Result<(), Problem>
    where
        F: Future<Output = bool> + Send,
    {
        while let Some(batch) = batches.recv().await {
            let (cards, stray_lines) = batch?;
            self.counts.stray_lines = stray_lines;
            if self.counts.total() + cards.len() > MAX_CARDS_PER_IMPORT {
                let so_far = self.counts.so_far();
                let detail = format!("it holds more than {MAX_CARDS_PER_IMPORT} vCards; {so_far}");
                return Err(Problem::too_large(detail).about("body"));
            }
            for report in self.take_batch(cards).await? {
                self.counts.count(report.status);
                if !tell(report).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes some cards in at once; those of one contact one after another.
    async fn take_batch(
        &mut self,
        cards: Vec<Result<Card, RejectedCard>>,
    ) -> Result<Vec<CardReport>, Problem> {
        let first = self.counts.total();
        let mut reports: BTreeMap<usize, CardReport> = BTreeMap::new();
        let mut under_way: JoinSet<Taken> = JoinSet::new();
        let mut ids_under_way: BTreeSet<String> = BTreeSet::new();
        for (index, card) in (first..).zip(cards) {
            let card = match card {
                Ok(card) => card,
                Err(card) => {
                    reports.insert(index, CardReport::unread(index, card));
                    continue;
                }
            };
            if ids_under_way.contains(&card.id) {
                self.finish(&mut under_way, &mut reports).await?;
                ids_under_way.clear();
            }
            let source = self.sources.add(&card);
            ids_under_way.insert(card.id.clone());
            under_way.spawn(take((self.store.clone(), self.region), index, card, source));
        }
        self.finish(&mut under_way, &mut reports).await?;
        Ok(reports.into_values().collect())
    }

    async fn finish(
        &mut self,
        under_way: &mut JoinSet<Taken>,
        reports: &mut BTreeMap<usize, CardReport>,
    ) -> Result<(), Problem> {
        while let Some(ended) = under_way.join_next().await {
            let ended = ended.map_err(|error| Problem::internal(&error))?;
            let (index, report, written) = ended.map_err(|problem| {
                let so_far = self.counts.so_far();
                problem.after(&so_far)
            })?;
            if let Some(written) = written {
                self.written.add(written);
            }
            reports.insert(index, report);
        }
        Ok(())
    }

    /// As [`Self::take_all`], told as lines of JSON.
    async fn tell(
        mut self,
        cards: mpsc::Receiver<Batch>,
        sender: &mpsc::Sender<Chunk<Infallible>>,
    ) {
        let ended = self
            .take_all(cards, &mut |card| {
                let line = line(&card);
                async move { sender.send(Ok(line)).await.is_ok() }
            })
            .await;
        let last = match ended {
            Ok(()) => {
                let token = self.session.answer_writes(self.written);
                summary(&self.counts, &token.to_text())
            }
            Err(problem) => ended_by(problem, &self.counts),
        };
        let _client_gone = sender.send(Ok(line(&last))).await;
    }
}

/// A line of JSON.
fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("reports have nothing that JSON cannot say");
    line.push(b'\n');
    line.into()
}

/// Which card it was, what became of it, and what must be held to see it.
type Taken = Result<(usize, CardReport, Option<Written>), Problem>;

async fn take(
    (store, region): (Store, Option<Region>),
    index: usize,
    card: Card,
    source: Source,
) -> Taken {
    let id = entity_id(card.id.clone())?;
    let card = Arc::new(card);
    let taken = card.clone();
    let written = store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                vcard_edit::import(edit.entity, &taken, source, stamp(&edit, region))
            }),
        )
        .await;
    match written {
        Ok((change, written)) => {
            let report = CardReport::taken(index, &card, change);
            Ok((index, report, Some(written)))
        }
        Err(WriteError::Rejected(InvalidContact { field, detail })) => {
            let report = CardReport::refused(index, &card, format!("{field} {detail}"));
            Ok((index, report, None))
        }
        Err(WriteError::Store(error)) => Err(error.into()),
    }
}

/// Whether the client wants to be told of each card as it is decided.
fn accepts_lines(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|ranges| ranges.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case(JSON_LINES))
}

impl From<UnreadableFile> for Problem {
    fn from(error: UnreadableFile) -> Self {
        let detail = error.to_string();
        match error {
            UnreadableFile::NoCard => Self::invalid("body", detail),
            UnreadableFile::Charset(_) => {
                Self::new(ProblemKind::UnsupportedMediaType, detail).about("Content-Type")
            }
            UnreadableFile::TooManyCards(_) => Self::too_large(detail).about("body"),
        }
    }
}

impl From<InvalidCsv> for Problem {
    fn from(error: InvalidCsv) -> Self {
        let (line, column) = (error.line, error.column);
        Self::invalid("body", error.to_string())
            .with("line", json!(line))
            .with("column", json!(column))
    }
}

/// Whether the body is said to be CSV. Else it is vCards, or what clients say that send a file (`curl --data-binary` says
/// that it is a form). What can be neither is refused.
fn is_csv(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(media_type) = body::media_type(headers)? else {
        return Ok(false);
    };
    if ["text/csv", "application/csv", "text/comma-separated-values"].contains(&media_type.as_str())
    {
        return Ok(true);
    }
    let accepted = media_type.starts_with("text/")
        || media_type == "application/octet-stream"
        || media_type == "application/vcard"
        || media_type == "application/x-www-form-urlencoded";
    if accepted {
        return Ok(false);
    }
    let detail = format!("{media_type} is neither text/vcard nor text/csv");
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail).about("Content-Type"))
}

/// The charset that is declared for the whole body, if one is.
fn charset(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').skip(1).find_map(|parameter| {
        let (name, charset) = parameter.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("charset");
        named.then(|| charset.trim().trim_matches('"').to_owned())
    })
}
