//! The results as text that fits into a terminal and into Markdown.

use std::fmt::Write;

use super::case::{Kind, System};
use super::quality::{Score, Voices};
use super::result::{NOISY, Results, Spread, Summary};

const COLUMNS: usize = 16;
const HEADER: [&str; COLUMNS] = [
    "case",
    "ms CPU a participant-s (least–most)",
    "server cores",
    "bench cores",
    "µs CPU a packet out",
    "passed on",
    "latency ms p50 / p99 / max",
    "one speaks: p50 / p99",
    "two speak: p50 / p99",
    "lost",
    "late",
    "ticks late ms p50 / p99 / max",
    "RSS MB (+ empty)",
    "joins/s",
    "PESQ / ESTOI: mixed, heard (talker's own Opus)",
    "all at once: mixed, heard (talkers' own Opus)",
];
/// In place of what isn't known. A column of nothing else is left out.
const UNKNOWN: &str = "–";

/// The goal of a case, in CPU milliseconds a participant-second.
fn goal(summary: &Summary) -> Option<f64> {
    let case = &summary.case;
    match (case.system, case.rooms, case.people, case.talkers) {
        (System::Roomtone(Kind::Mix), 1, 10, 3) => Some(4.0),
        (System::Roomtone(Kind::Mix), 1, 25, 3) => Some(1.9),
        (System::Roomtone(Kind::Mix), 1, 50, 3) => Some(1.1),
        (System::Roomtone(Kind::Mix), 1, 100, 3) => Some(0.65),
        (System::Roomtone(Kind::Mix), 1, 1000, 3) => Some(0.25),
        (System::Roomtone(Kind::Mix), 100, 5, 1) => Some(3.0),
        (System::Roomtone(Kind::Spatial), 1, 50, 3) => Some(4.0),
        (System::Roomtone(Kind::Forward), 1, 50, 3) => Some(0.8),
        // 5 % of a core.
        (System::Roomtone(Kind::Mix), 1000, 2, 0) => Some(0.025),
        _ => None,
    }
}

/// The goals for the latency of a mixed room and of a forwarding room.
fn latency_goal(summary: &Summary) -> &'static str {
    match summary.case.system {
        System::Roomtone(Kind::Forward) => ", goal 1 / 5",
        System::Roomtone(Kind::Mix) => ", goal 30 / 45",
        _ => "",
    }
}

/// Markdown: the machine, a row for each case, and what the rows say together.
pub fn table(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = String::new();
    // Writing to a String doesn't fail.
    let janus = machine
        .janus
        .as_ref()
        .map_or(String::new(), |version| format!("; Janus {version}"));
    let _ = writeln!(
        text,
        "{} × {}, {}{janus}; load average {:.2} at the start; {:.0} s each\n",
        machine.cores, machine.processor, machine.system, machine.load, results.seconds
    );
    let summaries = results.summaries();
    let rows: Vec<[String; COLUMNS]> = summaries.iter().map(row).collect();
    let known: Vec<usize> = (0..COLUMNS)
        .filter(|column| rows.is_empty() || rows.iter().any(|row| row[*column] != UNKNOWN))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |cells: &[String]| {
        let padded: Vec<String> = known
            .iter()
            .map(|column| format!("{:w$}", cells[*column], w = width(*column)))
            .collect();
        format!("| {} |\n", padded.join(" | "))
    };
    text += &line(&HEADER.map(str::to_owned));
    text += &line(&std::array::from_fn::<_, COLUMNS, _>(|column| {
        "-".repeat(width(column))
    }));
    for row in &rows {
        text += &line(row);
    }
    let memory = results.memory();
    if !memory.is_empty() {
        text.push('\n');
    }
    for memory in memory {
        let goals = match memory.system {
            System::Roomtone(Kind::Mix) => (", goal 40", ", goal 120"),
            _ => ("", ""),
        };
        let system = memory.system;
        let _ = writeln!(
            text,
            "memory of {system}: {:.0} kB a listener{}",
            memory.listener, goals.0
        );
        if let Some(talker) = memory.talker {
            let _ = writeln!(text, "memory of {system}: {talker:.0} kB a talker{}", goals.1);
        }
    }
    for summary in &summaries {
        remarks(summary, &mut text);
    }
    text
}

fn row(summary: &Summary) -> [String; COLUMNS] {
    let or = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.into());
    let decimals = |value: f64| {
        if value < 1.0 {
            format!("{value:.3}")
        } else {
            format!("{value:.2}")
        }
    };
    let percent = |share: f64| {
        if share > 0.0 {
            format!("{:.2} %", share * 100.0)
        } else {
            "0".into()
        }
    };
    // CPU that keeps a BEAM under load isn't the room's.
    let cpu = summary
        .cpu_ms
        .filter(|_| !summary.case.burdened)
        .map(|(median, least, most)| {
            let goal = goal(summary).map_or(String::new(), |goal| format!(", goal {goal}"));
            format!("{} ({}–{}){goal}", decimals(median), decimals(least), decimals(most))
        });
    let case = format!("{}{}", summary.case, if summary.good { "" } else { " (NOT GOOD)" });
    let two = |spread: Option<Spread>| or(spread.map(|spread| format!("{:.1} / {:.1}", spread.p50, spread.p99)));
    let one = |score: Score| format!("{:.2} / {:.3}", score.pesq, score.estoi);
    let quality = |quality: Voices| format!("{}, {} ({})", one(quality.mixed), one(quality.heard), one(quality.sent));
    let judged = summary.quality.as_ref();
    [
        case,
        or(cpu),
        or(summary.cpu.map(|cpu| format!("{cpu:.3}"))),
        format!("{:.3}", summary.own_cpu),
        or(summary
            .us_per_packet
            .filter(|_| summary.case.system.forwards())
            .map(|us| format!("{us:.1}"))),
        or(summary.passed.map(|passed| format!("{:.0} %", passed * 100.0))),
        or(summary
            .latency_ms
            .map(|l| format!("{:.1} / {:.1} / {:.1}{}", l.p50, l.p99, l.max, latency_goal(summary)))),
        two(summary.alone_ms),
        two(summary.together_ms),
        percent(summary.lost),
        percent(summary.late),
        or(summary
            .lateness
            .map(|l| format!("{:.2} / {:.2} / {:.2}", l.p50, l.p99, l.max))),
        or(summary
            .rss_kb
            .map(|(all, more)| format!("{:.0} (+{:.1})", all / 1024.0, more / 1024.0))),
        format!("{:.0}", summary.joins_per_second),
        or(judged.and_then(|judged| judged.alone).map(quality)),
        or(judged.and_then(|judged| judged.together).map(quality)),
    ]
}

fn remarks(summary: &Summary, text: &mut String) {
    let case = &summary.case;
    if let Some(shares) = summary.shares {
        let percent = |share: f64| (share * 100.0).round();
        let _ = writeln!(
            text,
            "turns: {case}: one speaks {} % of the time, two or more {} %, nobody {} %",
            percent(shares.one),
            percent(shares.more),
            percent(shares.none)
        );
    }
    if let Some(burden) = summary.burden {
        let _ = writeln!(
            text,
            "load: {case}: {} MB of garbage a second, {} processes with {} MB, {} collections of a heap of 1 GB (the longest took \
             {:.1} s), {} purges of code",
            burden.garbage_mb_s,
            burden.processes,
            burden.memory_mb,
            burden.collections.0,
            burden.collections.1 as f64 / 1000.0,
            burden.purges
        );
    }
    if summary.others_cpu > NOISY {
        let _ = writeln!(text, "noisy: {case}: others took up to {:.2} cores", summary.others_cpu);
    }
    if summary.shed_level > 0 {
        let _ = writeln!(text, "overload: {case}: the server shed (level {})", summary.shed_level);
    }
    if !summary.good {
        let _ = writeln!(text, "not good: {case}: not all joined, stayed and heard something");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::{JanusSetting, Talk};
    use crate::bench::conversation::Shares;
    use crate::bench::quality::Quality;
    use crate::bench::result::tests::sample;

    #[test]
    fn the_table_has_a_row_for_each_case_and_says_what_was_wrong() {
        let mix = System::Roomtone(Kind::Mix);
        let mut noisy = sample(mix, 50, 3, 0.05);
        noisy.others_cpu = Some(0.7);
        let mut bad = sample(System::Janus(JanusSetting::Equal), 10, 3, 0.13);
        bad.joined = 9;
        let results = Results {
            samples: vec![sample(mix, 10, 3, 0.035), noisy, bad],
            ..Results::default()
        };
        let text = table(&results);
        assert!(text.contains("| roomtone mix, N = 10, K = 3"), "{text}");
        assert!(text.contains("3.50 (3.50–3.50), goal 4"), "{text}");
        assert!(text.contains("janus 32k q5, N = 10, K = 3 (NOT GOOD)"), "{text}");
        assert!(
            text.contains("noisy: roomtone mix, N = 50, K = 3: others took up to 0.70 cores"),
            "{text}"
        );
        assert!(
            text.contains("memory of roomtone mix: 40 kB a listener, goal 40"),
            "{text}"
        );
        assert!(
            text.contains("bench cores") && !text.contains("two speak"),
            "nothing is known of that: {text}"
        );
        let widths: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|l| l.chars().count())
            .collect();
        assert_eq!(widths.len(), 5);
        assert!(widths.iter().all(|width| *width == widths[0]));
    }

    #[test]
    fn a_conversation_has_its_shares_its_latencies_and_its_quality() {
        let mut turns = sample(System::Roomtone(Kind::Mix), 4, 4, 0.01);
        turns.case.talk = Talk::Turns;
        turns.shares = Some(Shares {
            none: 0.1,
            one: 0.79,
            more: 0.11,
        });
        (turns.alone_ms, turns.together_ms) = (vec![0.3; 5], vec![21.0; 3]);
        turns.passed = Some(0.8);
        let score = |pesq: f64| Score { pesq, estoi: 0.98 };
        let voices = |heard: f64| Voices {
            mixed: score(4.5),
            heard: score(heard),
            sent: score(4.2),
        };
        turns.quality = Some(Quality {
            alone: Some(voices(4.1)),
            together: Some(voices(3.9)),
        });
        let results = Results {
            samples: vec![turns],
            ..Results::default()
        };
        let text = table(&results);
        for part in [
            "roomtone mix, N = 4, K = 4 in turns |",
            "| 80 %",
            "| 0.3 / 0.3",
            "| 21.0 / 21.0",
            "4.50 / 0.980, 4.10 / 0.980 (4.20 / 0.980)",
            "4.50 / 0.980, 3.90 / 0.980 (4.20 / 0.980)",
            "one speaks 79 % of the time, two or more 11 %, nobody 10 %",
        ] {
            assert!(text.contains(part), "{part} of {text}");
        }
    }
}
