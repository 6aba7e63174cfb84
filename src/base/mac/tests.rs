use crate::base::Mac;

#[test]
fn every_usual_spelling_is_read() {
    let want = Mac([0x52, 0x54, 0, 0xbe, 0xef, 1]);
    for text in
        ["52:54:00:be:ef:01", "52-54-00-BE-EF-01", "5254.00be.ef01", "525400BEEF01", " 52:54:00:be:ef:01 "]
    {
        assert_eq!(text.parse::<Mac>().unwrap(), want, "{text}");
    }
    assert_eq!(want.to_string(), "52:54:00:be:ef:01");
    assert_eq!(want.hyphenated(), "52-54-00-be-ef-01");
}

#[test]
fn anything_else_is_refused_with_the_text() {
    for text in ["", "52:54:00:be:ef", "52:54:00:be:ef:0g", "5:254:00:be:ef:01", "52:54-00:be:ef:01", "ééé"]
    {
        assert_eq!(text.parse::<Mac>().unwrap_err().0, text);
    }
}
