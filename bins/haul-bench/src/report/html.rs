//! The report as one page that needs nothing else: bars to compare, a table for each group of runs,
//! and their series over time, drawn over each other.

use std::fmt::Display;

use anyhow::anyhow;
use plotters::prelude::*;

use super::{Figure, Report, Run, Series, table};

const SIZE: (u32, u32) = (960, 220);
const STYLE: &str = include_str!("page.css");
/// Colours of the runs of a group, in order; those of haul come first (Okabe and Ito, 2008: told
/// apart by colour-blind readers, on light and on dark).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(140, 140, 140),
];

pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    let title = escaped(&report.title);
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style><main><h1>{title}</h1>\
         <p>{}</p><p><code>{}</code></p>",
        escaped(&report.machine),
        escaped(&report.command)
    );
    let groups: Vec<&[Run]> = report.runs.chunk_by(|a, b| a.group == b.group).collect();
    page.push_str(&overview(&groups));
    for group in &groups {
        page.push_str(&section(group)?);
    }
    for note in &report.notes {
        page.push_str(&format!("<p class=note>{}</p>", escaped(note)));
    }
    page.push_str("</main></html>\n");
    Ok(page)
}

/// The first figure of every run as bars: to the longest of its group where there is something to
/// compare in it, and to the longest of all otherwise.
fn overview(groups: &[&[Run]]) -> String {
    let Some(first) = groups.iter().copied().flatten().find_map(headline) else {
        return String::new();
    };
    let longest = |runs: &[Run]| {
        let values = runs.iter().filter_map(headline).map(|first| first.value);
        values.fold(f64::MIN_POSITIVE, f64::max)
    };
    let of_all = groups
        .iter()
        .map(|group| longest(group))
        .fold(0.0, f64::max);
    let mut text = format!("<h2>{}</h2><div class=bars>", with_unit(first));
    for group in groups {
        let most = if group.len() > 1 {
            longest(group)
        } else {
            of_all
        };
        text.push_str(&format!("<h3>{}</h3>", escaped(group_name(group))));
        for (run, colour) in group.iter().zip(COLOURS.iter().cycle()) {
            let (width, value) = match headline(run) {
                Some(figure) => (100.0 * figure.value / most, table::number(figure.value)),
                None => (0.0, "failed".to_owned()),
            };
            text.push_str(&format!(
                "<div class=bar><span>{}</span><i><b style=\"width:{width:.1}%;background:{}\"></b>\
                 </i><span>{value}</span></div>",
                escaped(&run.name),
                hex(*colour),
            ));
        }
    }
    text.push_str("</div>");
    text
}

fn section(runs: &[Run]) -> anyhow::Result<String> {
    let mut text = format!("<h2>{}</h2>", escaped(group_name(runs)));
    for alike in runs.chunk_by(|a, b| names(a) == names(b)) {
        text.push_str(&figures(alike));
    }
    let mut drawn: Vec<&str> = Vec::new();
    for series in runs.iter().flat_map(|run| &run.series) {
        if series.points.len() > 1 && !drawn.contains(&series.name) {
            drawn.push(series.name);
            text.push_str(&drawing(runs, series)?);
        }
    }
    Ok(text)
}

fn figures(runs: &[Run]) -> String {
    let mut text = String::from("<div class=wide><table><tr><th></th>");
    for figure in runs.first().map_or(&[][..], |run| &run.figures) {
        text.push_str(&format!("<th>{}</th>", with_unit(figure)));
    }
    text.push_str("</tr>");
    for run in runs {
        text.push_str(&format!("<tr><th>{}</th>", escaped(&run.name)));
        if let Some(failure) = &run.failure {
            text.push_str(&format!("<td class=bad>{}</td>", escaped(failure)));
        }
        for figure in &run.figures {
            let (class, mark) = match figure.passes() {
                Some(true) => ("good", ""),
                Some(false) => ("bad", " \u{2717}"),
                None => ("", ""),
            };
            let value = table::number(figure.value);
            text.push_str(&format!("<td class=\"{class}\">{value}{mark}</td>"));
        }
        text.push_str("</tr>");
    }
    text.push_str("</table></div>");
    text
}

/// All runs' series of that name, with the names of the runs below where there are several.
fn drawing(runs: &[Run], shape: &Series) -> anyhow::Result<String> {
    let failed = |error: &dyn Display| anyhow!("cannot draw: {error}");
    let lines: Vec<(&Run, &Series, RGBColor)> = runs
        .iter()
        .zip(COLOURS.iter().cycle())
        .flat_map(|(run, colour)| run.series.iter().map(move |series| (run, series, *colour)))
        .filter(|(_, series, _)| series.name == shape.name)
        .collect();
    let points = || lines.iter().flat_map(|(_, series, _)| &series.points);
    let last = points().map(|point| point.0).fold(0.1, f64::max);
    let most = points().map(|point| point.1).fold(0.001, f64::max);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..last, 0.0..1.1 * most)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("seconds")
            .draw()
            .map_err(|error| failed(&error))?;
        for (_, series, colour) in &lines {
            let line = LineSeries::new(series.points.iter().copied(), *colour);
            chart.draw_series(line).map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error))?;
    }
    // Axes and words follow the reader's light or dark.
    let text = text.replace("\"#000000\"", "\"currentColor\"");
    let mut legend = format!("<b>{}, {}</b>", shape.name, shape.unit);
    if lines.len() > 1 {
        for (run, _, colour) in &lines {
            legend.push_str(&format!(
                " <span style=\"color:{}\">\u{25a0}</span> {}",
                hex(*colour),
                escaped(&run.name)
            ));
        }
    }
    Ok(format!(
        "<figure><figcaption>{legend}</figcaption>{text}</figure>"
    ))
}

/// What a run is compared by.
fn headline(run: &Run) -> Option<&Figure> {
    run.figures.first().filter(|_| run.failure.is_none())
}

fn names(run: &Run) -> Vec<&'static str> {
    run.figures.iter().map(|figure| figure.name).collect()
}

fn group_name(runs: &[Run]) -> &str {
    runs.first().map_or("", |run| &run.group)
}

fn with_unit(figure: &Figure) -> String {
    if figure.unit.is_empty() {
        figure.name.to_owned()
    } else {
        format!("{}, {}", figure.name, figure.unit)
    }
}

fn hex(colour: RGBColor) -> String {
    let RGBColor(red, green, blue) = colour;
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, goodput: f64) -> Run {
        let mut run = Run::new("link", name);
        run.figure("goodput", goodput, "Mbit/s");
        run.series.push(Series {
            name: "rate",
            unit: "Mbit/s",
            points: vec![(0.0, 0.0), (0.1, 200.0), (0.2, 290.0)],
        });
        run
    }

    #[test]
    fn a_page_stands_alone_and_shows_what_it_was_given() {
        let mut report = Report::new("a <title>");
        report.runs = vec![run("haul", 280.0), run("other", 70.0)];
        report
            .runs
            .push(Run::new("link", "gone").failed(&anyhow!("no <route>")));
        let page = render(&report).unwrap();
        for part in [
            "a &lt;title&gt;",
            "no &lt;route&gt;",
            "width:100.0%",
            "width:25.0%",
            "prefers-color-scheme",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert_eq!(page.matches("<svg").count(), 1, "one drawing for both");
        assert_eq!(page.matches("<polyline").count() % 2, 0);
        for outside in ["src=", "href=\"http", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
