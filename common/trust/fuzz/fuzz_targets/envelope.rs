//! An envelope, and the statement in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::statement::Statement;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::from_json(bytes) {
        let _ = Statement::parse(&envelope.payload);
        assert_eq!(Envelope::from_json(&envelope.to_json()).expect("what was written is read"), envelope);
    }
    let _ = Statement::parse(bytes);
});
