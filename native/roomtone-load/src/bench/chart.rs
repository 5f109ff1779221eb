//! Cost against size, as a picture that is readable on light and on dark.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::case::{JanusSetting, Kind, System};
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

fn lines() -> [(System, &'static str, RGBColor); 6] {
    [
        (
            System::Janus(JanusSetting::Default),
            "Janus AudioBridge, its defaults",
            RGBColor(0xd9, 0x62, 0x2b),
        ),
        (
            System::Janus(JanusSetting::Equal),
            "Janus AudioBridge, 32 kbit/s",
            RGBColor(0xb0, 0x8a, 0x1e),
        ),
        (
            System::Roomtone(Kind::Spatial),
            "Roomtone, spatial",
            RGBColor(0x8a, 0x63, 0xd2),
        ),
        (System::Roomtone(Kind::Mix), "Roomtone, mix", RGBColor(0x12, 0x94, 0x80)),
        (
            System::VideoRoom,
            "Janus VideoRoom (forwards)",
            RGBColor(0xc0, 0x4f, 0x8f),
        ),
        (
            System::Roomtone(Kind::Forward),
            "Roomtone, forward",
            RGBColor(0x3d, 0x7f, 0xd6),
        ),
    ]
}

/// An SVG of what a participant-second costs in one room with the same number of talkers, over the number of participants;
/// both axes are logarithmic.
pub fn chart(results: &Results) -> Result<String, ChartError> {
    let summaries = results.summaries();
    // Of several numbers of talkers the one that most is known of.
    let count = |talkers: usize| {
        summaries
            .iter()
            .filter(|s| s.case.rooms == 1 && s.case.talkers == talkers)
            .count()
    };
    let talkers = summaries
        .iter()
        .map(|summary| summary.case.talkers)
        .max_by_key(|talkers| count(*talkers));
    let nothing = || ChartError("there are no results of single rooms with a known cost".into());
    let talkers = talkers.ok_or_else(nothing)?;
    let points = |system: System| -> Vec<(f64, f64)> {
        let of_system = |summary: &&Summary| {
            summary.case.rooms == 1 && summary.case.talkers == talkers && summary.case.system == system
        };
        let mut points: Vec<(f64, f64)> = summaries
            .iter()
            .filter(of_system)
            .filter_map(|summary| Some((summary.case.people as f64, summary.cpu_ms?.0)))
            .filter(|point| point.1 > 0.0)
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let all: Vec<(f64, f64)> = lines().iter().flat_map(|line| points(line.0)).collect();
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
    draw(&mut svg, talkers, across, up, &points).map_err(|error| ChartError(error.to_string()))?;
    // Right after the opening tag.
    let (tag, rest) = svg
        .split_once('>')
        .ok_or_else(|| ChartError("plotters wrote no SVG".into()))?;
    Ok(format!("{tag}>{STYLE}{rest}"))
}

fn draw(
    svg: &mut String,
    talkers: usize,
    across: (f64, f64),
    up: (f64, f64),
    points: &dyn Fn(System) -> Vec<(f64, f64)>,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("CPU of the server for a participant-second, one room, {talkers} talk"),
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
    for (system, name, colour) in lines() {
        let points = points(system);
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
}
