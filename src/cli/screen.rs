//! What the terminal is: its size, and whether it shows colours. A pipe has no width and no colours.

use std::io::IsTerminal;

use terminal_size::{Height, Width, terminal_size_of};

/// Where text for people goes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Screen {
    /// Characters in a line and lines; None: no terminal, everything is printed in full.
    pub(crate) size: Option<(usize, usize)>,
    pub(crate) colour: bool,
}

/// How a piece of text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    Plain,
    Bold,
    Good,
    Odd,
    Bad,
}

/// Words that tables use for states, and how they look.
const STATES: [(&str, Look); 16] = [
    ("bound", Look::Good),
    ("healthy", Look::Good),
    ("ok", Look::Good),
    ("authoritative", Look::Good),
    ("held", Look::Odd),
    ("hold", Look::Odd),
    ("waits", Look::Odd),
    ("local", Look::Odd),
    ("released", Look::Odd),
    ("warning", Look::Odd),
    ("ignore", Look::Odd),
    ("error", Look::Bad),
    ("critical", Look::Bad),
    ("broken", Look::Bad),
    ("declined", Look::Bad),
    ("refuse", Look::Bad),
];

impl Screen {
    /// Standard output.
    pub(crate) fn stdout() -> Screen {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return Screen::default();
        }
        let size = terminal_size_of(&out)
            .map(|(Width(width), Height(height))| (usize::from(width), usize::from(height)))
            .filter(|(width, height)| *width > 0 && *height > 0);
        // https://no-color.org: set and not empty. TERM=dumb cannot.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Screen { size, colour: !refused && !dumb }
    }

    /// The text in this look, if the screen shows colours.
    pub(crate) fn paint(self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Plain => return text.to_owned(),
            Look::Bold => "1",
            Look::Good => "32",
            Look::Odd => "33",
            Look::Bad => "1;31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The look of a word that tells a state.
pub(crate) fn look_of(word: &str) -> Look {
    STATES.iter().find(|(known, _)| *known == word).map_or(Look::Plain, |(_, look)| *look)
}
