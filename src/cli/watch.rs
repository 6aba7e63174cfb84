//! `--watch`: shows the same thing again and again, in place on a terminal, one below the other in a pipe.

use std::time::Duration;

use clap::Args;

use crate::cli::screen::Screen;
use crate::cli::table;
use crate::transport::clock::now;

/// Seconds that a watcher may ask for: not so often that the daemon has nothing else to do, and a day.
const SECONDS: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;

/// Whether to show it once or until Ctrl-C.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Watch {
    /// Show it again every so many seconds (2 if not said), until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 =
        text.parse().map_err(|_| "a number of seconds goes here; a node set stands before --watch")?;
    if SECONDS.contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(format!("from {} to {} seconds", SECONDS.start(), SECONDS.end()))
    }
}

impl Watch {
    /// Prints what `view` makes. A failure ends it only the first time: later ones are what people watch for,
    /// such as a daemon that starts again.
    pub(crate) fn show(&self, mut view: impl FnMut() -> anyhow::Result<String>) -> anyhow::Result<()> {
        let mut text = view()?;
        let Some(span) = self.watch else { return table::print(&text) };
        loop {
            let screen = Screen::stdout();
            let frame = match screen.size {
                Some((_, height)) => redraw(&text, height, span),
                None => format!("{text}\n"),
            };
            if !table::write(&frame)? {
                return Ok(());
            }
            std::thread::sleep(span);
            text = view().unwrap_or_else(|error| format!("{error:#}\n"));
        }
    }
}

/// The text over what the terminal shows, without a blank moment between.
fn redraw(text: &str, height: usize, span: Duration) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    // Below the text: the foot and the line of the cursor.
    let room = height.saturating_sub(2).max(1);
    let hidden = lines.len().saturating_sub(room);
    lines.truncate(room);
    let more = if hidden > 0 { format!("{hidden} more lines; ") } else { String::new() };
    let mut frame = String::from("\x1b[H");
    for line in lines {
        frame.push_str(line);
        frame.push_str("\x1b[K\n");
    }
    let at = now().rfc3339();
    frame.push_str(&format!("-- {more}{at}, every {} s, Ctrl-C ends\x1b[K\n\x1b[J", span.as_secs_f64()));
    frame
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::cli::watch::{redraw, seconds};

    #[test]
    fn a_long_list_stays_on_its_screen() {
        let text: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let frame = redraw(&text, 24, Duration::from_secs(2));
        assert_eq!(frame.lines().count(), 24, "the last one is where the cursor stands");
        assert!(frame.contains("line 21\x1b[K") && !frame.contains("line 22"));
        assert!(frame.contains("78 more lines"));
    }

    #[test]
    fn spans_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "nan", "inf", "1e300", "@compute"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
