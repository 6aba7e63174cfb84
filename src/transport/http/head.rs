//! Heads of requests, read just far enough to tell whether a file is asked for. What is odd is left to hyper.

use crate::engine::image::gate::Manner;
use crate::engine::image::serve::FileRequest;

/// Longest head that is looked at; hyper judges longer ones.
pub(crate) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Fields of a head that are read; clients of files send a handful.
const FIELDS_MAX: usize = 32;

/// What the first octets of a connection say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// The head goes on.
    More,
    /// A plain request for a path below one of the prefixes.
    File(Box<Head>),
    /// Something else. `whole`: length of its head, if that is all of it: no body and no other protocol follows.
    Other { whole: Option<usize> },
}

/// The head of a request for a file.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Octets of the head.
    pub(crate) length: usize,
    /// True for HEAD.
    pub(crate) bodiless: bool,
    /// As it came, without the query.
    pub(crate) path: String,
    pub(crate) keep_alive: bool,
    /// What the client does while it waits.
    pub(crate) manner: Manner,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

impl Head {
    /// The fields that decide which part of the file is wanted.
    pub(crate) fn request(&self) -> FileRequest<'_> {
        FileRequest {
            range: self.range.as_deref(),
            if_range: self.if_range.as_deref(),
            if_none_match: self.if_none_match.as_deref(),
        }
    }
}

/// Reads a head.
pub(crate) fn read(octets: &[u8], prefixes: &[&str]) -> Said {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(octets) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if octets.len() < HEAD_BYTES_MAX => return Said::More,
        Ok(httparse::Status::Partial) | Err(_) => return Said::Other { whole: None },
    };
    let more = ["content-length", "transfer-encoding", "expect", "upgrade"];
    let followed = |name: &str| more.iter().any(|field| name.eq_ignore_ascii_case(field));
    if request.method == Some("CONNECT") || request.headers.iter().any(|field| followed(field.name)) {
        return Said::Other { whole: None };
    }
    let other = Said::Other { whole: Some(length) };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return other;
    };
    let path = target.split('?').next().unwrap_or_default();
    let ours =
        prefixes.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')));
    if !ours || !matches!(method, "GET" | "HEAD") {
        return other;
    }
    let mut head = Head {
        length,
        bodiless: method == "HEAD",
        path: path.to_owned(),
        keep_alive: true,
        ..Head::default()
    };
    for field in request.headers.iter() {
        let Ok(value) = std::str::from_utf8(field.value) else { return other };
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("range") {
            head.range = Some(value.to_owned());
        } else if is("if-range") {
            head.if_range = Some(value.to_owned());
        } else if is("if-none-match") {
            head.if_none_match = Some(value.to_owned());
        } else if is("connection") {
            head.keep_alive &= !value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        } else if is("user-agent") {
            head.manner = Manner::of(value);
        }
    }
    Said::File(Box::new(head))
}

#[cfg(test)]
mod tests {
    use crate::engine::image::gate::Manner;
    use crate::transport::http::head::{HEAD_BYTES_MAX, Said, read};

    const PREFIXES: [&str; 2] = ["/images", "/openchami"];

    fn check(text: &str) -> Said {
        read(text.as_bytes(), &PREFIXES)
    }

    #[test]
    fn requests_for_files_are_told_from_others() {
        let text =
            "GET /images/a/b?x HTTP/1.1\r\nHost: h\r\nRange: bytes=5-\r\nUser-Agent: iPXE/1.21\r\n\r\nGET";
        let Said::File(head) = check(text) else { panic!() };
        assert_eq!((head.path.as_str(), head.length), ("/images/a/b", text.len() - 3));
        assert_eq!(head.request().range, Some("bytes=5-"));
        assert!(head.keep_alive && !head.bodiless);
        assert_eq!(head.manner, Manner::ComesBack);
        for other in [
            "GET /boot/script HTTP/1.1\r\n\r\n",
            "GET /imagesque/a HTTP/1.1\r\n\r\n",
            "GET /images HTTP/1.1\r\n\r\n",
            "GET /images/a HTTP/1.0\r\n\r\n",
            "GET http://head/images/a HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(check(&format!("{other}GET ")), Said::Other { whole: Some(other.len()) }, "{other:?}");
        }
        for more in [
            "POST /images/a HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "GET /images/a HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "GET /images/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /images/a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /console HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "CONNECT head:22 HTTP/1.1\r\n\r\n",
            "\x16\x03\x01\x02",
            "nonsense\r\n\r\n",
        ] {
            assert_eq!(check(more), Said::Other { whole: None }, "{more:?}");
        }
        assert_eq!(check("GET /images/a HTTP/1.1\r\nHo"), Said::More);
        assert_eq!(check(""), Said::More);
        assert_eq!(
            check(&format!("GET /images/a HTTP/1.1\r\nX: {}", "y".repeat(HEAD_BYTES_MAX))),
            Said::Other { whole: None }
        );
        let fields = "X: y\r\n".repeat(33);
        assert_eq!(check(&format!("GET /images/a HTTP/1.1\r\n{fields}\r\n")), Said::Other { whole: None });
        let twice = "GET /images/a HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n";
        let Said::File(head) = check(twice) else { panic!() };
        assert!(!head.keep_alive, "who says close once means it");
    }
}
