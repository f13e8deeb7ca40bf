"""tmp"""


def write_report(place):
    return place.folder
