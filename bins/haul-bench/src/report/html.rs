//! The report as one page that needs nothing else: figures in a table, series as drawings.

use anyhow::anyhow;
use plotters::prelude::*;

use super::{Report, Run, Series, table};

const SIZE: (u32, u32) = (720, 200);
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;\
padding:0 1rem;color:#1d2733;background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;\
margin:2rem 0 .5rem}table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.25rem .75rem;\
text-align:right;border-bottom:1px solid #dde3ea;white-space:nowrap}.bad{color:#b3261e}\
.good{color:#1b6e3c}p{color:#5b6875}svg{max-width:100%;height:auto;display:block;margin:.5rem 0}";

pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    let title = escaped(&report.title);
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1><p>{}<br><code>{}</code></p>",
        escaped(&report.machine),
        escaped(&report.command)
    );
    for run in &report.runs {
        page.push_str(&format!(
            "<h2>{} \u{b7} {}</h2>",
            escaped(&run.group),
            escaped(&run.name)
        ));
        page.push_str(&figures(run));
        for series in run.series.iter().filter(|series| series.points.len() > 1) {
            page.push_str(&drawing(series)?);
        }
    }
    for note in &report.notes {
        page.push_str(&format!("<p>{}</p>", escaped(note)));
    }
    page.push_str("</html>\n");
    Ok(page)
}

fn figures(run: &Run) -> String {
    if let Some(failure) = &run.failure {
        return format!("<p class=bad>{}</p>", escaped(failure));
    }
    let (mut heads, mut cells) = (String::new(), String::new());
    for figure in &run.figures {
        heads.push_str(&format!("<th>{} {}</th>", figure.name, figure.unit));
        let class = match figure.passes() {
            Some(true) => "good",
            Some(false) => "bad",
            None => "",
        };
        let value = table::number(figure.value);
        cells.push_str(&format!("<td class=\"{class}\">{value}</td>"));
    }
    format!("<table><tr>{heads}</tr><tr>{cells}</tr></table>")
}

fn drawing(series: &Series) -> anyhow::Result<String> {
    let last = series.points.last().map_or(1.0, |point| point.0).max(0.1);
    let most = series
        .points
        .iter()
        .map(|point| point.1)
        .fold(0.0, f64::max);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw: {error}");
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .caption(
                format!("{}, {}", series.name, series.unit),
                ("sans-serif", 15),
            )
            .build_cartesian_2d(0.0..last, 0.0..(1.1 * most).max(0.001))
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("seconds")
            .draw()
            .map_err(|error| failed(&error))?;
        let line = LineSeries::new(series.points.iter().copied(), RGBColor(29, 100, 180));
        chart.draw_series(line).map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone_and_shows_what_it_was_given() {
        let mut report = Report::new("a <title>");
        let mut run = Run::new("link", "haul");
        run.figure("goodput", 281.5, "Mbit/s");
        run.series.push(Series {
            name: "rate",
            unit: "Mbit/s",
            points: vec![(0.0, 0.0), (0.1, 200.0), (0.2, 290.0)],
        });
        report.runs.push(run);
        let page = render(&report).unwrap();
        for part in ["a &lt;title&gt;", "<svg", "goodput", "polyline"] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        for outside in ["src=", "href=\"http", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
