//! Plain words about memory and delays, and delays as a drawing.

use super::super::latency::{Event, LatencyLog, Sample};
use super::super::report::{Report, State};

/// Below this there is too little data to judge by.
const MEMORY_BYTES_MIN: u64 = 5 << 20;

/// What is unusual about the use of memory.
pub fn memory(report: &Report, maxmemory_bytes: u64) -> String {
    let memory = &report.memory;
    if memory.used < MEMORY_BYTES_MIN {
        return "There is hardly any data here yet, so there is nothing to judge.\n".into();
    }
    let mut findings = Vec::new();
    if memory.peak > memory.used + memory.used / 2 {
        findings.push(
            "The peak was more than half above what is used now. The allocator may still hold that memory: \
             MEMORY PURGE gives it back.",
        );
    }
    if memory.fragmentation_ratio() > 1.4 && memory.fragmentation_bytes() > 10 << 20 {
        findings.push(
            "The process holds over 40 % more memory than it uses. Many keys have changed their size or gone; \
             a restart packs them anew.",
        );
    }
    if memory.rss < memory.used {
        findings.push("Part of the memory is swapped out: expect long delays.");
    }
    if maxmemory_bytes > 0 && memory.used > maxmemory_bytes / 10 * 9 {
        findings.push("Over 90 % of maxmemory is used.");
    }
    if report.clients.buffers_bytes > memory.used / 10 {
        findings.push("Buffers of clients take over 10 % of the memory; CLIENT LIST shows whose.");
    }
    if matches!(report.state, State::WritesRefused(_)) {
        findings.push("Writes are refused at the moment; INFO ringfort names the reason.");
    }
    told(findings, "Nothing is unusual about the use of memory.")
}

/// What is unusual about delays.
pub fn latency(log: &LatencyLog, threshold_ms: u64) -> String {
    if threshold_ms == 0 {
        return "Delays are not watched. CONFIG SET latency-monitor-threshold <milliseconds> turns that on.\n"
            .into();
    }
    let findings: Vec<String> = log
        .events()
        .map(|(name, event)| {
            format!(
                "{name}: {} delays, {} ms on average, {} ms at most.",
                event.samples().len(),
                mean_ms(event),
                event.duration_ms_max
            )
        })
        .collect();
    let findings = findings.iter().map(String::as_str).collect();
    told(findings, "No delay has reached the threshold.")
}

fn told(findings: Vec<&str>, nothing: &str) -> String {
    if findings.is_empty() {
        return format!("{nothing}\n");
    }
    findings
        .iter()
        .map(|finding| format!("* {finding}\n"))
        .collect()
}

fn mean_ms(event: &Event) -> u64 {
    let sum: u64 = event
        .samples()
        .iter()
        .map(|sample| sample.duration_ms)
        .sum();
    sum.checked_div(event.samples().len() as u64).unwrap_or(0)
}

/// Lines that a column of the drawing has.
const ROWS: u64 = 4;

/// The samples of an event as columns, with their age below.
pub fn graph(name: &str, event: &Event, now_seconds: u64) -> String {
    let samples = event.samples();
    let high = samples.iter().map(|s| s.duration_ms).max().unwrap_or(0);
    let low = samples.iter().map(|s| s.duration_ms).min().unwrap_or(0);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.duration_ms_max,
        "-".repeat(80)
    );
    for row in (0..ROWS).rev() {
        let column = |sample: &Sample| mark(height(sample.duration_ms, low, high), row);
        let line: String = samples.iter().map(column).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = samples
        .iter()
        .map(|sample| age(now_seconds.saturating_sub(sample.at_seconds)))
        .collect();
    let longest = ages.iter().map(String::len).max().unwrap_or(0);
    for at in 0..longest {
        let letter = |age: &String| age.as_bytes().get(at).map_or(' ', |b| char::from(*b));
        let line: String = ages.iter().map(letter).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Of `3 * ROWS` steps, how many a sample fills; at least one.
fn height(duration_ms: u64, low: u64, high: u64) -> u64 {
    let steps = 3 * ROWS - 1;
    let above = duration_ms.saturating_sub(low).saturating_mul(steps);
    1 + above.checked_div(high - low).unwrap_or(0)
}

fn mark(height: u64, row: u64) -> char {
    match height.saturating_sub(row * 3) {
        0 => ' ',
        1 => '_',
        2 => 'o',
        _ => '#',
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LatencyLog {
        let mut log = LatencyLog::default();
        for (at_seconds, duration_ms) in [(100, 1), (160, 50), (170, 100)] {
            log.record(
                "command",
                Sample {
                    at_seconds,
                    duration_ms,
                },
            );
        }
        log
    }

    #[test]
    fn a_graph_grows_with_the_delay_and_tells_the_age() {
        let log = log();
        let graph = graph("command", log.event(b"command").unwrap(), 175);
        let lines: Vec<&str> = graph.lines().collect();
        assert_eq!(
            lines[0],
            "command - high 100 ms, low 1 ms (all time high 100 ms)"
        );
        assert_eq!(lines[2..7], ["  #", "  #", " ##", "_##", ""]);
        assert_eq!(lines[7..], ["115", "m5s", " s"]);
    }

    #[test]
    fn equal_samples_make_a_flat_graph() {
        let mut log = LatencyLog::default();
        log.record(
            "x",
            Sample {
                at_seconds: 1,
                duration_ms: 7,
            },
        );
        assert!(graph("x", log.event(b"x").unwrap(), 1).contains("\n_\n"));
    }

    #[test]
    fn delays_are_summed_up() {
        assert!(latency(&log(), 0).contains("latency-monitor-threshold"));
        assert_eq!(
            latency(&log(), 1),
            "* command: 3 delays, 50 ms on average, 100 ms at most.\n"
        );
        assert!(latency(&LatencyLog::default(), 1).starts_with("No delay"));
    }

    #[test]
    fn memory_is_judged_once_there_is_some() {
        let mut report = Report::default();
        assert!(memory(&report, 0).starts_with("There is hardly any data"));
        report.memory.used = 100 << 20;
        report.memory.peak = 100 << 20;
        report.memory.rss = 110 << 20;
        assert!(memory(&report, 0).starts_with("Nothing is unusual"));
        assert!(memory(&report, 101 << 20).contains("90 % of maxmemory"));
        report.memory.rss = 200 << 20;
        report.memory.peak = 300 << 20;
        let text = memory(&report, 0);
        assert!(text.contains("peak") && text.contains("40 %"), "{text}");
        report.memory.rss = 50 << 20;
        assert!(memory(&report, 0).contains("swapped"));
    }
}
