//! What Linux says of this process, under the names that all exporters use. Elsewhere nothing is told.

use std::{fs, time::Duration};

use super::{Exposition, real};

/// Linux tells times in these to every program, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds memory, processor time, threads, descriptors and the start of this process; what cannot be read is left out.
pub fn measure_process(out: &mut Exposition) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = kibibytes(&status, "VmRSS:") {
        let help = "Memory of the process that is in RAM";
        out.gauge("process_resident_memory_bytes", help, bytes);
    }
    if let Some(bytes) = kibibytes(&status, "VmSize:") {
        let help = "Address space of the process";
        out.gauge("process_virtual_memory_bytes", help, bytes);
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(used) = Stat::parse(&stat) {
        let help = "Processor time that the process has used";
        out.count_seconds("process_cpu_seconds", help, used.cpu);
        out.gauge("process_threads", "Threads of the process", used.threads);
        if let Some(booted) = booted(&fs::read_to_string("/proc/stat").unwrap_or_default()) {
            let help = "When the process was started, in seconds since 1970";
            let started = booted + used.started_after;
            out.gauge("process_start_time_seconds", help, started);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Files and sockets that the process has open";
        out.gauge("process_open_fds", help, real(open.count()));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = most_files(&limits) {
        let help = "Files and sockets that the process may have open";
        out.gauge("process_max_fds", help, most);
    }
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1_024.0)
}

/// What the file `stat` of a process says.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: Duration,
    threads: f64,
    /// In seconds since the machine was booted.
    started_after: f64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The name of the program, in parentheses, may hold anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<f64>().ok();
        let ticks = number(11)? + number(12)?;
        Some(Self {
            cpu: Duration::try_from_secs_f64(ticks / TICKS_PER_SECOND).ok()?,
            threads: number(17)?,
            started_after: number(19)? / TICKS_PER_SECOND,
        })
    }
}

fn booted(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn most_files(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_any_name_is_measured_right() {
        let stat = "7 (a ) b) R 1 7 7 0 -1 4194304 2 0 0 0 150 50 0 0 20 0 9 0 1200 1 1";
        let expected = Stat {
            cpu: Duration::from_secs(2),
            threads: 9.0,
            started_after: 12.0,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("nonsense"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(most_files(limits), Some(1_024.0));
        assert_eq!(kibibytes("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_all_of_it() {
        let mut out = Exposition::default();
        measure_process(&mut out);
        let text = out.text().expect("a text takes everything");
        for name in [
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_start_time_seconds ",
            "process_open_fds ",
        ] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }
}
