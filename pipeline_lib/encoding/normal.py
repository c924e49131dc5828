"""The normal distribution's quantiles, for whole columns.

Source: Wichura 1988, "Algorithm AS 241: The percentage points of the normal distribution",
the 16-figure version; as in the standard library's `statistics.NormalDist.inv_cdf`.
"""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

# Coefficients of numerator and denominator, the highest power first.
_CENTER = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAILS = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)


def normal_quantiles(shares: Numbers) -> Numbers:
    """Return the standard normal numbers below which the shares lie, same shape.

    Args:
        shares: within 1e-10 and 1 - 1e-10; beyond, the formula for far tails is left out.
    """
    from_middle = shares - 0.5
    r = from_middle * from_middle
    np.subtract(0.180625, r, out=r)
    quantiles = from_middle * _ratio(r, _CENTER)
    is_tail = r < 0
    tail = shares[is_tail]
    if len(tail):
        r = np.sqrt(-np.log(np.minimum(tail, 1.0 - tail))) - 1.6
        quantiles[is_tail] = np.copysign(_ratio(r, _TAILS), tail - 0.5)
    return quantiles


def _ratio(r: Numbers, polynomials: tuple[tuple[float, ...], tuple[float, ...]]) -> Numbers:
    numerator, denominator = (_polynomial(r, coefficients) for coefficients in polynomials)
    numerator /= denominator
    return numerator


def _polynomial(r: Numbers, coefficients: tuple[float, ...]) -> Numbers:
    value = r * coefficients[0]
    for coefficient in coefficients[1:-1]:
        value += coefficient
        value *= r
    value += coefficients[-1]
    return value
