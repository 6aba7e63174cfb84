//! Serving a root image block by block over NBD, read-only: how options are answered, which requests are carried
//! out, and how much of an image a machine has touched.

use crate::base::limits::NBD_READ_BYTES_MAX;
use crate::wire::nbd::{
    CAN_MULTI_CONN, ClientOption, Command, Errno, HAS_FLAGS, OptionReply, READ_ONLY, Request, SEND_FLUSH,
    emit_export, emit_option_reply, info_block_sizes, info_export, server,
};

/// A block that costs a client nothing extra: a page of it, and of ours.
const BLOCK_BYTES_BEST: u32 = 4096;

/// What every export can do. Content never changes, so that connections see the same and a flush is done at once.
const FLAGS: u16 = HAS_FLAGS | READ_ONLY | SEND_FLUSH | CAN_MULTI_CONN;

/// How finely what was touched is remembered: at most so many parts of an image, 8 KiB of memory for each
/// connection, and none of them smaller than this.
const PARTS_MAX: u64 = 65_536;
const PART_BYTES_MIN: u64 = 64 << 10;

/// What follows after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The next option.
    Option,
    /// Requests for the export that was named.
    Requests,
    HangUp,
}

/// The answer to an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub next: Next,
}

/// What to do about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Reply, and so many octets from there behind it.
    Read { offset: u64, length: u32 },
    /// Reply that it is done.
    Done,
    /// Reply with this error, after `payload` octets of the request were thrown away.
    Refuse { error: Errno, payload: u32 },
    /// The client takes its leave.
    Leave,
    /// The client announces a payload that we will not wait for.
    HangUp,
}

impl Answer {
    fn refusal(kind: u32, reply: OptionReply, sentence: &str) -> Answer {
        let mut bytes = Vec::new();
        emit_option_reply(&mut bytes, kind, reply, sentence.as_bytes());
        Answer { bytes, next: Next::Option }
    }
}

/// Answers an option that names an export; `size` is None if there is no such export. Options that name none
/// are answered by `answer`.
#[must_use]
pub fn answer_export(option: &ClientOption<'_>, size: Option<u64>, no_zeroes: bool) -> Answer {
    let (kind, next) = match (option, size) {
        (ClientOption::ExportName(_), Some(size)) => {
            return Answer { bytes: emit_export(size, FLAGS, no_zeroes), next: Next::Requests };
        }
        (ClientOption::ExportName(_), None) => return Answer { bytes: Vec::new(), next: Next::HangUp },
        (ClientOption::Info(_), _) => (6, Next::Option),
        (ClientOption::Go(_), _) => (7, Next::Requests),
        (other, _) => return answer(other, &[]),
    };
    let Some(size) = size else {
        return Answer::refusal(kind, OptionReply::Unknown, "there is no such export");
    };
    let mut bytes = Vec::new();
    emit_option_reply(&mut bytes, kind, OptionReply::Info, &info_export(size, FLAGS));
    let sizes = info_block_sizes(1, BLOCK_BYTES_BEST, NBD_READ_BYTES_MAX);
    emit_option_reply(&mut bytes, kind, OptionReply::Info, &sizes);
    emit_option_reply(&mut bytes, kind, OptionReply::Acknowledge, &[]);
    Answer { bytes, next }
}

/// Answers an option that names no export. `names` is what LIST tells.
#[must_use]
pub fn answer(option: &ClientOption<'_>, names: &[String]) -> Answer {
    let mut bytes = Vec::new();
    match option {
        ClientOption::Abort => {
            emit_option_reply(&mut bytes, 2, OptionReply::Acknowledge, &[]);
            Answer { bytes, next: Next::HangUp }
        }
        ClientOption::List => {
            for name in names {
                emit_option_reply(&mut bytes, 3, OptionReply::Server, &server(name));
            }
            emit_option_reply(&mut bytes, 3, OptionReply::Acknowledge, &[]);
            Answer { bytes, next: Next::Option }
        }
        ClientOption::StartTls => Answer::refusal(5, OptionReply::Policy, "this server speaks no TLS here"),
        ClientOption::Unknown(kind) => {
            Answer::refusal(*kind, OptionReply::Unsupported, "this server does not know that option")
        }
        ClientOption::ExportName(_) | ClientOption::Info(_) | ClientOption::Go(_) => {
            answer_export(option, None, true)
        }
    }
}

/// Answers an option whose data could not be read.
#[must_use]
pub fn answer_malformed(kind: u32) -> Answer {
    match kind {
        1 => Answer { bytes: Vec::new(), next: Next::HangUp },
        _ => Answer::refusal(kind, OptionReply::Invalid, "malformed option"),
    }
}

/// What to do about a request for an export of `size` octets.
#[must_use]
pub fn judge(request: &Request, size: u64) -> Verdict {
    let refuse = |error| Verdict::Refuse { error, payload: 0 };
    match request.command {
        Command::Read => {
            let end = request.offset.checked_add(u64::from(request.length));
            if request.length > NBD_READ_BYTES_MAX {
                refuse(Errno::TooLarge)
            } else if request.length == 0 || end.is_none_or(|end| end > size) {
                refuse(Errno::Invalid)
            } else {
                Verdict::Read { offset: request.offset, length: request.length }
            }
        }
        Command::Write if request.length > NBD_READ_BYTES_MAX => Verdict::HangUp,
        Command::Write => Verdict::Refuse { error: Errno::Permission, payload: request.length },
        Command::Flush => Verdict::Done,
        Command::Disconnect => Verdict::Leave,
        // TRIM and WRITE_ZEROES change content.
        Command::Other(4 | 6) => refuse(Errno::Permission),
        Command::Other(_) => refuse(Errno::Unsupported),
    }
}

/// Which parts of an image were read, however often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    size: u64,
    part_bytes: u64,
    words: Vec<u64>,
}

impl Touched {
    /// Nothing, of `size` octets.
    #[must_use]
    pub fn new(size: u64) -> Touched {
        let part_bytes = size.div_ceil(PARTS_MAX).max(PART_BYTES_MIN);
        let words = size.div_ceil(part_bytes).div_ceil(64);
        Touched { size, part_bytes, words: vec![0; usize::try_from(words).unwrap_or(0)] }
    }

    /// These octets were read.
    pub fn mark(&mut self, offset: u64, length: u32) {
        let last = offset.saturating_add(u64::from(length)).min(self.size).saturating_sub(1);
        let part = |at: u64| at.checked_div(self.part_bytes).unwrap_or(0);
        for part in part(offset)..=part(last) {
            let word = usize::try_from(part >> 6).ok().and_then(|word| self.words.get_mut(word));
            if let (Some(word), true) = (word, length > 0) {
                *word |= 1 << (part & 63);
            }
        }
    }

    /// Octets in the parts that were touched, in whole parts.
    #[must_use]
    pub fn octets(&self) -> u64 {
        let parts: u64 = self.words.iter().map(|word| u64::from(word.count_ones())).sum();
        parts.saturating_mul(self.part_bytes).min(self.size)
    }
}

#[cfg(test)]
mod tests;
