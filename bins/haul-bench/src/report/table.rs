use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::{Figure, Report, Run};

/// The report for a terminal: a table for each group of runs with the same figures.
pub(crate) fn render(report: &Report) -> String {
    let mut text = format!("{}\n{}\n", report.title, report.machine);
    let mut rest = report.runs.as_slice();
    while let Some(first) = rest.first() {
        let names = |run: &Run| -> Vec<&'static str> {
            run.figures.iter().map(|figure| figure.name).collect()
        };
        let shape = rest
            .iter()
            .find(|run| run.failure.is_none())
            .unwrap_or(first);
        let alike = rest
            .iter()
            .take_while(|run| run.failure.is_some() || names(run) == names(shape))
            .count()
            .max(1);
        let (block, behind) = rest.split_at(alike);
        text.push_str(&table(block, shape));
        text.push('\n');
        rest = behind;
    }
    for note in &report.notes {
        text.push_str(note);
        text.push('\n');
    }
    text
}

fn table(runs: &[Run], shape: &Run) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec![String::new(), String::new()];
    header.extend(shape.figures.iter().map(|figure| {
        if figure.unit.is_empty() {
            figure.name.to_owned()
        } else {
            format!("{}, {}", figure.name, figure.unit)
        }
    }));
    table.set_header(header);
    let mut group = "";
    for run in runs {
        let shown = if run.group == group { "" } else { &run.group };
        group = &run.group;
        let mut row = vec![Cell::new(shown), Cell::new(&run.name)];
        match &run.failure {
            Some(failure) => row.push(Cell::new(failure).fg(Color::Red)),
            None => row.extend(run.figures.iter().map(cell)),
        }
        table.add_row(row);
    }
    table.to_string()
}

fn cell(figure: &Figure) -> Cell {
    let text = number(figure.value);
    let cell = match figure.passes() {
        Some(true) => Cell::new(text).fg(Color::Green),
        Some(false) => Cell::new(format!("{text} FAIL")).fg(Color::Red),
        None => Cell::new(text),
    };
    cell.set_alignment(CellAlignment::Right)
}

/// As many digits as say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
