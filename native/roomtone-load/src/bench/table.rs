//! The results as text that fits into a terminal and into Markdown.

use std::fmt::Write;

use super::case::{Kind, System};
use super::result::{NOISY, Results, Summary};

const HEADER: [&str; 11] = [
    "case",
    "ms CPU a participant-s (least–most)",
    "server cores",
    "bench cores",
    "latency ms p50 / p99 / max",
    "lost",
    "late",
    "ticks late ms p50 / p99 / max",
    "RSS MB (+ empty)",
    "joins/s",
    "PESQ / ESTOI: mixed, heard",
];

/// What a case shall not exceed, in CPU milliseconds a participant-second.
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

/// What a mixed room's and a forwarding room's latency shall not exceed.
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
    let rows: Vec<[String; 11]> = summaries.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |cells: &[String]| {
        let cells = cells.iter().enumerate();
        let padded: Vec<String> = cells
            .map(|(column, cell)| format!("{cell:w$}", w = width(column)))
            .collect();
        format!("| {} |\n", padded.join(" | "))
    };
    text += &line(&HEADER.map(str::to_owned));
    text += &line(&std::array::from_fn::<_, 11, _>(|column| "-".repeat(width(column))));
    for row in &rows {
        text += &line(row);
    }
    let memory = results.memory();
    if let Some(listener) = memory.listener {
        let _ = writeln!(text, "\nmemory of the server: {listener:.0} kB a listener, goal 40");
    }
    if let Some(talker) = memory.talker {
        let _ = writeln!(text, "memory of the server: {talker:.0} kB a talker, goal 120");
    }
    for summary in &summaries {
        remarks(summary, &mut text);
    }
    text
}

fn row(summary: &Summary) -> [String; 11] {
    let or = |text: Option<String>| text.unwrap_or_else(|| "–".into());
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
    let cpu = summary.cpu_ms.map(|(median, least, most)| {
        let goal = goal(summary).map_or(String::new(), |goal| format!(", goal {goal}"));
        format!("{} ({}–{}){goal}", decimals(median), decimals(least), decimals(most))
    });
    let case = format!("{}{}", summary.case, if summary.good { "" } else { " (NOT GOOD)" });
    [
        case,
        or(cpu),
        or(summary.cpu.map(|cpu| format!("{cpu:.3}"))),
        format!("{:.3}", summary.own_cpu),
        or(summary
            .latency_ms
            .map(|l| format!("{:.1} / {:.1} / {:.1}{}", l.p50, l.p99, l.max, latency_goal(summary)))),
        percent(summary.lost),
        percent(summary.late),
        or(summary
            .lateness
            .map(|l| format!("{:.2} / {:.2} / {:.2}", l.p50, l.p99, l.max))),
        or(summary
            .rss_kb
            .map(|(all, more)| format!("{:.0} (+{:.1})", all / 1024.0, more / 1024.0))),
        format!("{:.0}", summary.joins_per_second),
        or(summary.quality.map(|quality| {
            let one = |score: super::Score| format!("{:.2} / {:.3}", score.pesq, score.estoi);
            format!("{}, {}", one(quality.mixed), one(quality.heard))
        })),
    ]
}

fn remarks(summary: &Summary, text: &mut String) {
    let case = &summary.case;
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
    use crate::bench::case::JanusSetting;
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
        assert!(text.contains("40 kB a listener, goal 40"), "{text}");
        let widths: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|l| l.chars().count())
            .collect();
        assert_eq!(widths.len(), 5);
        assert!(widths.iter().all(|width| *width == widths[0]));
    }
}
