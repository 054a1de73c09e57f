use haul_flow::Time;
use haul_udp::Route;
use haul_wire::{
    HEADER_LEN, Kind, TAG_LEN,
    path::{self, Echo, Probe},
};

use crate::{EngineError, driver::Fact};

/// What an authentic probe or echo means to the driver; nothing if it is neither.
pub(crate) fn hear(
    kind: Kind,
    body: &[u8],
    stranger: Option<Route>,
    at: Time,
) -> Result<Option<Fact>, EngineError> {
    let malformed = |what| move |_| EngineError::Malformed(what);
    Ok(match kind {
        Kind::Probe => {
            let probe: Probe = path::decode("probe", body).map_err(malformed("probe"))?;
            // One that was cut on its way says nothing about the path.
            let datagram_len = HEADER_LEN + body.len() + TAG_LEN;
            (usize::from(probe.datagram_len) == datagram_len).then_some(Fact::Probe {
                token: probe.token,
                to: stranger,
            })
        }
        Kind::Echo => {
            let echo: Echo = path::decode("echo", body).map_err(malformed("echo"))?;
            let token = echo.token;
            Some(Fact::Echo { token, at })
        }
        _ => None,
    })
}
