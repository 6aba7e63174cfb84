//! Text for people: aligned columns that fit the terminal, and output that ends quietly when the reader goes
//! away.

use std::io::Write as _;

use serde::Serialize;

use crate::cli::screen::{Look, Screen, look_of};

/// Characters between two columns.
const GAP: usize = 2;

/// How columns are cut, step by step until a row fits: first column that may be, and the width that it keeps.
/// A hardware address stays whole as long as it can, and the first two columns, which say what a row is about,
/// give way last.
const CUTS: [(usize, usize); 3] = [(0, 17), (2, 8), (0, 4)];

/// Writes to standard output. A closed pipe (`muster … | head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write(text).map(drop)
}

/// Writes to standard output. False: nobody reads any more.
pub(crate) fn write(text: &str) -> anyhow::Result<bool> {
    octets(text.as_bytes())
}

/// Writes what may be no text.
pub(crate) fn octets(octets: &[u8]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(octets).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(true),
    }
}

/// JSON, indented.
pub(crate) fn json_text(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes JSON, indented.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&json_text(value)?)
}

#[allow(dead_code, reason = "commands that only print a table use it")]
/// Writes rows in aligned columns below a header. Nothing but a sentence if there are no rows.
pub(crate) fn rows(header: &[&str], rows: &[Vec<String>], empty: &str) -> anyhow::Result<()> {
    print(&grid(header, rows, empty))
}

/// Rows in aligned columns below a header, as they fit standard output.
pub(crate) fn grid(header: &[&str], rows: &[Vec<String>], empty: &str) -> String {
    fitted(Screen::stdout(), header, rows, empty)
}

/// The same for any screen. On a terminal the widest columns are cut, with … at the end, until a row fits; in a
/// pipe every cell is whole.
pub(crate) fn fitted(screen: Screen, header: &[&str], rows: &[Vec<String>], empty: &str) -> String {
    if rows.is_empty() {
        return format!("{empty}\n");
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..header.len()).map(width).collect();
    if let Some((width, _)) = screen.size {
        shrink(&mut widths, width);
    }
    let upper: Vec<String> = header.iter().map(|cell| cell.to_uppercase()).collect();
    let mut text = line(screen, &upper, &widths, |_| Look::Bold);
    rows.iter().for_each(|row| text.push_str(&line(screen, row, &widths, look_of)));
    text
}

/// Takes from the widest columns until the row fits, or nothing more can be taken.
fn shrink(widths: &mut [usize], room: usize) {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP);
    let mut over = widths.iter().sum::<usize>().saturating_add(gaps).saturating_sub(room);
    for (first, least) in CUTS {
        while over > 0 {
            let widest = widths.iter_mut().skip(first).max().filter(|width| **width > least);
            let Some(widest) = widest else { break };
            *widest = widest.saturating_sub(1);
            over = over.saturating_sub(1);
        }
    }
}

fn line(screen: Screen, cells: &[String], widths: &[usize], look: impl Fn(&str) -> Look) -> String {
    let mut text = String::new();
    let mut spaces = 0;
    for (cell, width) in cells.iter().zip(widths) {
        let shown = cut(&one_line(cell), *width);
        // Spaces stand before a cell, never at the end of a line.
        text.push_str(&" ".repeat(spaces));
        spaces = width.saturating_sub(shown.chars().count()).saturating_add(GAP);
        text.push_str(&screen.paint(look(&shown), &shown));
    }
    let mut text = text.trim_end_matches(' ').to_owned();
    text.push('\n');
    text
}

/// What machines send and people type is printed, not obeyed: no line ends, no control sequences.
fn one_line(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A value, or a dash where there is none.
pub(crate) fn dash(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::screen::Screen;
    use crate::cli::table::fitted;

    fn screen(width: usize, colour: bool) -> Screen {
        Screen { size: Some((width, 24)), colour }
    }

    fn table(screen: Screen) -> String {
        let rows = [
            ["nid001", "bound", &"x".repeat(60)].map(str::to_owned).to_vec(),
            ["nid002", "declined", "short\x1b[2J\n"].map(str::to_owned).to_vec(),
        ];
        fitted(screen, &["name", "state", "class"], &rows, "none")
    }

    #[test]
    fn the_widest_column_gives_way_and_nothing_else() {
        for width in [20, 40, 50, 79, 80, 200] {
            let text = table(screen(width, false));
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "{width}:\n{text}");
            assert!(width < 40 || text.contains("nid001  bound     x"), "{text}");
            assert_eq!(text.contains('…'), width < 78, "{width}:\n{text}");
        }
    }

    #[test]
    fn a_pipe_gets_every_cell_whole_and_no_colours() {
        let text = table(Screen::default());
        assert!(
            text.contains(&"x".repeat(60)) && !text.contains('…') && !text.contains("\x1b[1m"),
            "{text:?}"
        );
        assert_eq!(fitted(Screen::default(), &["name"], &[], "no nodes"), "no nodes\n");
    }

    #[test]
    fn colours_do_not_move_columns_and_cells_cannot_bring_their_own() {
        let (plain, coloured) = (table(screen(60, false)), table(screen(60, true)));
        assert!(coloured.contains("\x1b[1mNAME\x1b[0m") && coloured.contains("\x1b[1;31mdeclined\x1b[0m"));
        let codes = ["\x1b[1;31m", "\x1b[1m", "\x1b[32m", "\x1b[0m"];
        let stripped = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(stripped, plain, "what a machine called itself is text");
        assert!(!plain.contains('\x1b'));
        assert!(plain.lines().all(|line| line == line.trim_end()), "no spaces at ends of lines");
    }
}
