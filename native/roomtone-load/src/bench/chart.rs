//! Cost against size, as a picture that is readable on light and on dark.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::case::{JanusSetting, Kind, System, Talk};
use super::result::{Results, Summary};

const SIZE: (u32, u32) = (760, 440);
/// Text and axes; the style below gives these two other colours on dark.
const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const STYLE: &str = "<style>text{font-family:system-ui,sans-serif}@media(prefers-color-scheme:dark){\
    [fill=\"#111111\"]{fill:#ddd}[stroke=\"#111111\"]{stroke:#bbb}[stroke=\"#DDDDDD\"]{stroke:#444}}</style>";

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("no chart: {0}")]
pub struct ChartError(String);

/// A line: what is measured, how people talk, its name and colour.
type Line = (System, Talk, &'static str, RGBColor);

fn lines() -> [Line; 8] {
    let mix = System::Roomtone(Kind::Mix);
    let janus = System::Janus(JanusSetting::Default);
    [
        (
            janus,
            Talk::All,
            "Janus AudioBridge, its defaults",
            RGBColor(0xd9, 0x62, 0x2b),
        ),
        (
            System::Janus(JanusSetting::Equal),
            Talk::All,
            "Janus AudioBridge, 32 kbit/s",
            RGBColor(0xb0, 0x8a, 0x1e),
        ),
        (
            janus,
            Talk::Turns,
            "Janus AudioBridge, all in turns",
            RGBColor(0xe8, 0xa0, 0x7c),
        ),
        (
            System::Roomtone(Kind::Spatial),
            Talk::All,
            "Roomtone, spatial",
            RGBColor(0x8a, 0x63, 0xd2),
        ),
        (mix, Talk::All, "Roomtone, mix", RGBColor(0x12, 0x94, 0x80)),
        (
            mix,
            Talk::Turns,
            "Roomtone, mix, all in turns",
            RGBColor(0x6a, 0xc7, 0x4f),
        ),
        (
            System::VideoRoom,
            Talk::All,
            "Janus VideoRoom (forwards)",
            RGBColor(0xc0, 0x4f, 0x8f),
        ),
        (
            System::Roomtone(Kind::Forward),
            Talk::All,
            "Roomtone, forward",
            RGBColor(0x3d, 0x7f, 0xd6),
        ),
    ]
}

/// An SVG of what a participant-second costs in one room over the number of participants, where the same number of them talk at
/// once, or all in turns; both axes are logarithmic.
pub fn chart(results: &Results) -> Result<String, ChartError> {
    let mut summaries = results.summaries();
    summaries.retain(|summary| summary.case.rooms == 1 && !summary.case.burdened);
    // Of several numbers of talkers the one that most is known of.
    let count = |talkers: usize| {
        summaries
            .iter()
            .filter(|s| s.case.talk == Talk::All && s.case.talkers == talkers)
            .count()
    };
    let talkers = summaries
        .iter()
        .map(|summary| summary.case.talkers)
        .max_by_key(|talkers| count(*talkers));
    let nothing = || ChartError("there are no results of single rooms with a known cost".into());
    let talkers = talkers.ok_or_else(nothing)?;
    let points = |line: &Line| -> Vec<(f64, f64)> {
        let belongs = |summary: &&Summary| {
            let case = &summary.case;
            let as_many = match case.talk {
                Talk::All => case.talkers == talkers,
                Talk::Turns => case.talkers == case.people,
            };
            (case.system, case.talk) == (line.0, line.1) && as_many
        };
        let mut points: Vec<(f64, f64)> = summaries
            .iter()
            .filter(belongs)
            .filter_map(|summary| Some((summary.case.people as f64, summary.cpu_ms?.0)))
            .filter(|point| point.1 > 0.0)
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let all: Vec<(f64, f64)> = lines().iter().flat_map(points).collect();
    if all.is_empty() {
        return Err(nothing());
    }
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let least = all.iter().map(pick).fold(f64::INFINITY, f64::min);
        let most = all.iter().map(pick).fold(0.0, f64::max);
        (least / 1.3, most * 1.3)
    };
    let (across, up) = (range(|point| point.0), range(|point| point.1));
    let mut svg = String::new();
    let at_once = count(talkers) > 0;
    let talking = if at_once {
        format!("{talkers} talk")
    } else {
        "all in turns".into()
    };
    draw(&mut svg, &talking, across, up, &points).map_err(|error| ChartError(error.to_string()))?;
    // Right after the opening tag.
    let (tag, rest) = svg
        .split_once('>')
        .ok_or_else(|| ChartError("plotters wrote no SVG".into()))?;
    Ok(format!("{tag}>{STYLE}{rest}"))
}

fn draw(
    svg: &mut String,
    talking: &str,
    across: (f64, f64),
    up: (f64, f64),
    points: &dyn Fn(&Line) -> Vec<(f64, f64)>,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("CPU of the server for a participant-second, one room, {talking}"),
            text(20),
        )
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((across.0..across.1).log_scale(), (up.0..up.1).log_scale())?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(text(15))
        .x_desc("participants")
        .y_desc("milliseconds")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for line in lines() {
        let (points, name, colour) = (points(&line), line.2, line.3);
        let Some(last) = points.last().copied() else { continue };
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(3)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        let style = text(15).pos(Pos::new(HPos::Right, VPos::Bottom));
        chart.draw_series([EmptyElement::at(last) + Text::new(number(last.1), (6, -8), style)])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(text(15))
        .border_style(TRANSPARENT)
        .draw()?;
    root.present()?;
    Ok(())
}

fn number(value: f64) -> String {
    if value < 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::result::tests::sample;

    #[test]
    fn has_a_line_for_each_system_and_colours_for_the_dark() {
        let mix = System::Roomtone(Kind::Mix);
        let janus = System::Janus(JanusSetting::Default);
        let results = Results {
            samples: vec![
                sample(mix, 10, 3, 0.04),
                sample(mix, 1000, 3, 0.2),
                sample(janus, 10, 3, 0.13),
                sample(janus, 100, 3, 1.0),
            ],
            ..Results::default()
        };
        let svg = chart(&results).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for word in [
            "prefers-color-scheme:dark",
            "Roomtone, mix",
            "Janus AudioBridge, its defaults",
            "3 talk",
        ] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(!svg.contains("spatial"));
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(chart(&Results::default()).is_err());
    }

    #[test]
    fn those_who_take_turns_have_a_line_of_their_own_and_a_beam_under_load_has_none() {
        let mix = System::Roomtone(Kind::Mix);
        let turns = |people: usize| {
            let mut sample = sample(mix, people, people, 0.01);
            sample.case.talk = Talk::Turns;
            sample
        };
        let mut burdened = sample(mix, 50, 3, 2.0);
        burdened.case.burdened = true;
        let samples = vec![sample(mix, 3, 3, 0.03), turns(2), turns(3), burdened];
        let results = Results {
            samples,
            ..Results::default()
        };
        let svg = chart(&results).unwrap();
        assert!(svg.contains("in turns") && svg.contains("3 talk"));
        assert_eq!(svg.matches("<circle").count(), 3);
    }
}
