//! Opens many listeners to a topic of a running node, tells what they cost it, and how long a message takes to them.
//!
//! `cargo run --example idle_listeners -- http://127.0.0.1:7802 10000 PID http://127.0.0.1:7801`
//!
//! The second number is how many; `PID` the process of the node, of which Linux tells the memory; the last address the
//! node to which is posted, any of the same cluster. Both processes need as many open files (`ulimit -n`).

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many connections are opened at once.
const AT_ONCE: usize = 64;
const POSTS: usize = 200;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, pid, post_to] = arguments.as_slice() else {
        return Err("give URL, COUNT, PID and the URL to post to".into());
    };
    let address = url.trim_start_matches("http://").to_owned();
    let count: usize = count.parse()?;
    // What the first costs is paid once.
    let _first = listen(address.clone()).await?;
    let before = resident_kib(pid)?;
    let mut listeners = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for number in 0..count {
        if opening.len() == AT_ONCE
            && let Some(opened) = opening.join_next().await
        {
            listeners.push(opened??);
        }
        opening.spawn(listen(address.clone()));
        if number % 1_000 == 999 {
            println!("{} opened", number + 1);
        }
    }
    while let Some(opened) = opening.join_next().await {
        listeners.push(opened??);
    }
    let after = resident_kib(pid)?;
    println!(
        "{count} listeners: {} KiB more, {} bytes each",
        after - before,
        (after - before) * 1_024 / i64::try_from(count)?,
    );
    let took = deliver(&mut listeners, post_to).await?;
    println!(
        "from post to delivery: {:?} median, {:?} at the 99th percentile, {:?} at most",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
    );
    Ok(())
}

/// A listener that has been answered.
async fn listen(address: String) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(&address).await?;
    let request = format!("GET /v1/topics/news/stream HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut said = Vec::new();
    while !said.windows(5).any(|text| text == b"\nid: ") {
        let mut bytes = [0; 1_024];
        match stream.read(&mut bytes).await? {
            0 => return Err(String::from_utf8_lossy(&said).into()),
            read => said.extend_from_slice(&bytes[..read]),
        }
    }
    Ok(stream)
}

/// Posts one message after another; how long each took from the request to the last listener, in order.
async fn deliver(listeners: &mut [TcpStream], post_to: &str) -> Outcome<Vec<Duration>> {
    let client = reqwest::Client::new();
    let mut took = Vec::with_capacity(POSTS);
    for number in 0..POSTS {
        let mark = format!("message {number}.");
        let began = Instant::now();
        let post = client.post(format!("{post_to}/v1/topics/news/messages"));
        let post = post
            .json(&json!({"author": "example", "body": mark}))
            .send();
        let posted = tokio::spawn(post);
        for listener in &mut *listeners {
            wait_for(listener, mark.as_bytes()).await?;
        }
        took.push(began.elapsed());
        posted.await??.error_for_status()?;
    }
    took.sort_unstable();
    Ok(took)
}

async fn wait_for(listener: &mut TcpStream, mark: &[u8]) -> Outcome<()> {
    let mut said = Vec::new();
    while !said.windows(mark.len()).any(|text| text == mark) {
        let mut bytes = [0; 2_048];
        match listener.read(&mut bytes).await? {
            0 => return Err("the node ended a stream".into()),
            read => said.extend_from_slice(&bytes[..read]),
        }
    }
    Ok(())
}

/// How much memory a process holds.
fn resident_kib(pid: &str) -> Outcome<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.ok_or("the system does not tell")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
