from dataclasses import replace

from tests.diagnosis.literals import layer, need, reach

from longreach.report.chart import draw


def test_where_gradients_are_cut_the_axis_goes_on_to_the_need():
    asked = replace(need(76), lags=(0, 75, 76), strength=(0.0, 0.0, 0.34))
    found = layer(reach=reach(19, horizon=19, growth=-0.01), need=asked)
    rows = ["".join(text for text, _ in row).rstrip() for row in draw(found, 49)]
    assert rows == [
        " reach",
        "     1 ████████▇▇",
        "   0.1 ██████████",
        "  0.01 ██████████▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔",
        " 0.001 ██████████",
        "   34%                                        █",
        "  need                                        █",
        "      └┴─────────┴──────────┴─────────┴───────┴",
        "   lag 0        20         40        60      76",
        "                 ▲ reach 19           need 76 ▲",
    ]
